"""TLS sections and Secrets to certificates: each host is served by one, the oldest Ingress decides."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import Certificate, Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import contents, pem
from fairway.edge.translate.checks import Refused
from fairway.edge.translate.groups import Reading
from fairway.edge.translate.part import Part
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import ObjectKey


class Certificates(msgspec.Struct, frozen=True):
    """What is served, the good content of each Secret (kept for the day it turns bad), and what was wrong.

    `names` are the hosts with a certificate; the rest is what all of it was made of.
    """

    served: tuple[Certificate, ...]
    bundles: Mapping[ObjectKey, str]
    problems: tuple[Problem, ...]
    names: frozenset[str] = frozenset()
    asking: tuple[Part, ...] = ()
    secrets: Mapping[ObjectKey, Secret] = {}
    refused: Mapping[str, str] = {}


def translate(
    readings: Iterable[Reading], snapshot: Snapshot, previous: Certificates, refused: Mapping[str, str]
) -> Certificates:
    """`refused` holds certificates (by content) that HAProxy itself would not take, and why."""
    asking = [reading for reading in readings if reading.part.tls]
    asking.sort(key=lambda reading: reading.precedence)
    parts = tuple(reading.part for reading in asking)
    if parts == previous.asking and snapshot.secrets == previous.secrets and refused == previous.refused:
        return previous
    made = _translate(parts, snapshot, previous.bundles, refused)
    return msgspec.structs.replace(
        made,
        names=frozenset(host for certificate in made.served for host in certificate.hosts),
        asking=parts,
        secrets=snapshot.secrets,
        refused=dict(refused),
    )


class _Options(msgspec.Struct, frozen=True, order=True):
    """What else is settled in the handshake, by host."""

    client_authority: str = ""
    any_client: bool = False
    ciphers: str = ""


def _translate(
    parts: tuple[Part, ...], snapshot: Snapshot, previous: Mapping[ObjectKey, str], refused: Mapping[str, str]
) -> Certificates:
    owners: dict[str, ObjectKey] = {}
    wanted: dict[tuple[ObjectKey, _Options], list[str]] = {}
    bundles: dict[ObjectKey, str] = {}
    problems: list[Problem] = []
    options = _options(parts, snapshot, problems)
    for part in parts:
        for tls in part.tls:
            content, message = _content(tls.secret, snapshot, previous, refused)
            if message:
                problems.append(Problem(part.owner, *message))
            if not content:
                continue
            bundles[tls.secret] = content
            for host in tls.hosts:
                owner = owners.setdefault(host, tls.secret)
                if owner == tls.secret:
                    wanted.setdefault((owner, options.get(host, _Options())), []).append(host)
                else:
                    problems.append(_taken(part.owner, host, owner))
    ordered = sorted(wanted.items(), key=lambda item: (item[0][0], item[1]))
    served = tuple(_certificate(secret, hosts, bundles[secret], more) for (secret, more), hosts in ordered)
    return Certificates(served, bundles, tuple(problems))


def _options(parts: Iterable[Part], snapshot: Snapshot, problems: list[Problem]) -> dict[str, _Options]:
    """The older Ingress decides for a host, as ever. Without its authority nobody's certificate is good."""
    found: dict[str, _Options] = {}
    for part in parts:
        settings = part.settings
        asks = settings.auth_tls_secret and settings.auth_tls_verify_client != "off"
        if not asks and not settings.ssl_ciphers:
            continue
        authority = ""
        if asks:
            namespace, _, name = settings.auth_tls_secret.rpartition("/")
            key = ObjectKey(namespace or part.owner.namespace, name)
            secret = snapshot.secrets.get(key)
            try:
                authority = contents.authority(secret.data.get("ca.crt", "") if secret else "")
            except Refused as error:
                why = f"Secret {key}: {error if secret else 'it does not exist'}; nobody is let in meanwhile"
                problems.append(Problem(part.owner, "InvalidReference", why))
        any_client = settings.auth_tls_verify_client == "optional_no_ca"
        for host in (host for tls in part.tls for host in tls.hosts):
            found.setdefault(host, _Options(authority, any_client, settings.ssl_ciphers))
    return found


def _content(
    secret: ObjectKey, snapshot: Snapshot, previous: Mapping[ObjectKey, str], refused: Mapping[str, str]
) -> tuple[str, tuple[str, str] | None]:
    """The PEM text, or that of the last good Secret, and the reason and message of what is wrong."""
    found = snapshot.secrets.get(secret)
    reason, message = "SecretNotFound", f"Secret {secret} does not exist or is not of type kubernetes.io/tls"
    if found is not None:
        try:
            content = pem.bundle(found.data.get("tls.crt", ""), found.data.get("tls.key", ""))
            if content not in refused:
                return content, None
            reason, message = "InvalidCertificate", f"Secret {secret}: {refused[content]}"
        except Refused as error:
            reason, message = "InvalidCertificate", f"Secret {secret}: {error}"
    last = previous.get(secret, "")
    served = "the certificate it had before" if last and last not in refused else "the default certificate"
    return ("" if last in refused else last), (reason, f"{message}; serving {served}")


def _certificate(secret: ObjectKey, hosts: Iterable[str], content: str, options: _Options) -> Certificate:
    # A list entry of HAProxy cannot change its hosts or options, so another set of them is another certificate.
    names = tuple(sorted(set(hosts)))
    more = () if options == _Options() else (msgspec.json.encode(options).decode(),)
    digest = hashlib.sha256("\n".join((*secret, *names, *more)).encode()).hexdigest()[:16]
    return Certificate(
        f"{secret.namespace}_{secret.name}_{digest}",
        content,
        names,
        client_authority=options.client_authority,
        any_client=options.any_client,
        ciphers=options.ciphers,
    )


def _taken(ingress: ObjectKey, host: str, secret: ObjectKey) -> Problem:
    return Problem(ingress, "HostConflict", f"host {host} is already served with Secret {secret} by an older Ingress")
