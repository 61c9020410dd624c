"""TLS sections and Secrets to certificates: each host is served by one, the oldest Ingress decides."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from fairway.edge.ir import Certificate, Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import contents, pem
from fairway.edge.translate.checks import Refused
from fairway.edge.translate.groups import Reading
from fairway.edge.translate.part import Part, Tls
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.persistent_map import PersistentMap, differences


class Handshake(msgspec.Struct, frozen=True, order=True):
    """What else is settled in the handshake, by host."""

    client_authority: str = ""
    any_client: bool = False
    ciphers: str = ""


_USUAL = Handshake()


class Certificates(msgspec.Struct, frozen=True):
    """What is served, the good content of each Secret (kept for the day it turns bad), and what was wrong.

    `names` are the hosts with a certificate; the rest is what all of it was made of: `asking` who wants certificates,
    `needed` the Secrets that they name, `sound` the good Secrets that `bundles` come from, as they were.
    """

    served: tuple[Certificate, ...] = ()
    bundles: Mapping[ObjectKey, str] = {}
    problems: tuple[Problem, ...] = ()
    names: frozenset[str] = frozenset()
    asking: PersistentMap[ObjectKey, Reading] = msgspec.field(default_factory=PersistentMap)
    needed: frozenset[ObjectKey] = frozenset()
    sound: Mapping[ObjectKey, Secret] = {}
    made: Mapping[tuple[ObjectKey, Handshake], Certificate] = {}
    secrets: Mapping[ObjectKey, Secret] = {}
    refused: Mapping[str, str] = {}


def translate(
    gone: Iterable[Reading],
    new: Iterable[Reading],
    snapshot: Snapshot,
    previous: Certificates,
    refused: Mapping[str, str],
) -> Certificates:
    """`refused` holds certificates (by content) that HAProxy itself would not take, and why."""
    arriving = {reading.part.owner: reading for reading in new if reading.part.tls}
    asking = previous.asking.change(arriving, [reading.part.owner for reading in gone])
    same_secrets = previous.needed.isdisjoint(_changed(previous.secrets, snapshot.secrets))
    if asking is previous.asking and same_secrets and refused == previous.refused:
        return msgspec.structs.replace(previous, secrets=snapshot.secrets)
    ordered = sorted(asking.values(), key=lambda reading: reading.precedence)
    parts = tuple(reading.part for reading in ordered)
    made = _translate(parts, snapshot, previous, refused)
    return msgspec.structs.replace(
        made,
        names=frozenset(host for certificate in made.served for host in certificate.hosts),
        asking=asking,
        needed=frozenset(_needed(parts)),
        secrets=snapshot.secrets,
        refused=dict(refused),
    )


def _changed(before: Mapping[ObjectKey, Secret], after: Mapping[ObjectKey, Secret]) -> Iterable[ObjectKey]:
    return differences(before, after)


def _needed(parts: Iterable[Part]) -> Iterator[ObjectKey]:
    for part in parts:
        yield from (tls.secret for tls in part.tls)
        if part.settings.auth_tls_secret:
            yield _authority_key(part)


def _authority_key(part: Part) -> ObjectKey:
    namespace, _, name = part.settings.auth_tls_secret.rpartition("/")
    return ObjectKey(namespace or part.owner.namespace, name)


def _translate(
    parts: tuple[Part, ...], snapshot: Snapshot, previous: Certificates, refused: Mapping[str, str]
) -> Certificates:
    sound: dict[ObjectKey, Secret] = {}
    problems: list[Problem] = []
    lacking: list[tuple[ObjectKey, Tls, tuple[str, str]]] = []
    shown = _Shown(_options(parts, snapshot, problems))
    for part in parts:
        for tls in part.tls:
            content, message = _content(tls.secret, snapshot, previous, refused)
            if not content and message:
                lacking.append((part.owner, tls, message))
                continue
            if message:
                problems.append(_problem(part.owner, message, "the certificate it had before"))
            else:
                sound[tls.secret] = snapshot.secrets[tls.secret]
            taken = shown.give(tls.hosts, tls.secret, content)
            problems += (_taken(part.owner, host, owner) for host, owner in taken)
    before = _before(previous, refused) if lacking else {}
    for owner, tls, message in lacking:
        kept = [(host, found) for host in tls.hosts if (found := before.get((tls.secret.namespace, host)))]
        for host, secret in kept:
            shown.give((host,), secret, previous.bundles[secret])
        problems.append(_problem(owner, message, "what its hosts had before" if kept else "the default certificate"))
    made = shown.certificates(previous.made)
    return Certificates(tuple(made.values()), shown.bundles, tuple(problems), sound=sound, made=made)


class _Shown:
    """Which Secret each host is served with; whoever comes first decides."""

    def __init__(self, options: Mapping[str, Handshake]) -> None:
        self.bundles: dict[ObjectKey, str] = {}
        self._options = options
        self._owners: dict[str, ObjectKey] = {}
        self._hosts: dict[tuple[ObjectKey, Handshake], list[str]] = {}

    def give(self, hosts: Iterable[str], secret: ObjectKey, content: str) -> list[tuple[str, ObjectKey]]:
        """Returns the hosts that are served with another Secret, and with which."""
        self.bundles.setdefault(secret, content)
        owners = [(host, self._owners.setdefault(host, secret)) for host in hosts]
        for host, owner in owners:
            if owner == secret:
                self._hosts.setdefault((owner, self._options.get(host, _USUAL)), []).append(host)
        return [(host, owner) for host, owner in owners if owner != secret]

    def certificates(
        self, known: Mapping[tuple[ObjectKey, Handshake], Certificate]
    ) -> dict[tuple[ObjectKey, Handshake], Certificate]:
        return {key: _made(known.get(key), key, self._hosts[key], self.bundles[key[0]]) for key in sorted(self._hosts)}


def _before(previous: Certificates, refused: Mapping[str, str]) -> dict[tuple[str, str], ObjectKey]:
    """The Secret that each host was served with, by the Secret's namespace and the host.

    Whoever names another Secret for a host, as one that is about to be made, goes without no certificate meanwhile.
    Only one of the same namespace will do: another team's certificate is not to be shown for this team's site.
    """
    return {
        (secret.namespace, host): secret
        for (secret, _), certificate in previous.made.items()
        if previous.bundles[secret] not in refused
        for host in certificate.hosts
    }


def _made(known: Certificate | None, key: tuple[ObjectKey, Handshake], hosts: list[str], content: str) -> Certificate:
    """The one that was made before, if nothing about it has changed."""
    if known is not None and known.pem == content and known.hosts == tuple(sorted(set(hosts))):
        return known
    return _certificate(key[0], hosts, content, key[1])


def _options(parts: Iterable[Part], snapshot: Snapshot, problems: list[Problem]) -> dict[str, Handshake]:
    """The older Ingress decides for a host, as ever. Without its authority nobody's certificate is good."""
    found: dict[str, Handshake] = {}
    for part in parts:
        settings = part.settings
        asks = settings.auth_tls_secret and settings.auth_tls_verify_client != "off"
        if not asks and not settings.ssl_ciphers:
            continue
        authority = ""
        if asks:
            key = _authority_key(part)
            secret = snapshot.secrets.get(key)
            try:
                authority = contents.authority(secret.data.get("ca.crt", "") if secret else "")
            except Refused as error:
                why = f"Secret {key}: {error if secret else 'it does not exist'}; nobody is let in meanwhile"
                problems.append(Problem(part.owner, "InvalidReference", why))
        any_client = settings.auth_tls_verify_client == "optional_no_ca"
        for host in (host for tls in part.tls for host in tls.hosts):
            found.setdefault(host, Handshake(authority, any_client, settings.ssl_ciphers))
    return found


def _content(
    secret: ObjectKey, snapshot: Snapshot, previous: Certificates, refused: Mapping[str, str]
) -> tuple[str, tuple[str, str] | None]:
    """The PEM text, or that of the last good Secret ("" without one), and the reason and message of what is wrong."""
    found = snapshot.secrets.get(secret)
    if found is not None and previous.sound.get(secret) is found and previous.bundles[secret] not in refused:
        return previous.bundles[secret], None
    reason, message = "SecretNotFound", f"Secret {secret} does not exist or is not of type kubernetes.io/tls"
    if found is not None:
        try:
            content = pem.bundle(found.data.get("tls.crt", ""), found.data.get("tls.key", ""))
            if content not in refused:
                return content, None
            reason, message = "InvalidCertificate", f"Secret {secret}: {refused[content]}"
        except Refused as error:
            reason, message = "InvalidCertificate", f"Secret {secret}: {error}"
    last = previous.bundles.get(secret, "")
    return ("" if last in refused else last), (reason, message)


def _certificate(secret: ObjectKey, hosts: Iterable[str], content: str, options: Handshake) -> Certificate:
    # A list entry of HAProxy cannot change its hosts or options, so another set of them is another certificate.
    names = tuple(sorted(set(hosts)))
    more = () if options == _USUAL else (msgspec.json.encode(options).decode(),)
    digest = hashlib.sha256("\n".join((*secret, *names, *more)).encode()).hexdigest()[:16]
    return Certificate(
        f"{secret.namespace}_{secret.name}_{digest}",
        content,
        names,
        client_authority=options.client_authority,
        any_client=options.any_client,
        ciphers=options.ciphers,
    )


def _problem(ingress: ObjectKey, what: tuple[str, str], served: str) -> Problem:
    reason, message = what
    return Problem(ingress, reason, f"{message}; serving {served}")


def _taken(ingress: ObjectKey, host: str, secret: ObjectKey) -> Problem:
    return Problem(ingress, "HostConflict", f"host {host} is already served with Secret {secret} by an older Ingress")
