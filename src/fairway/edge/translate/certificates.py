"""TLS sections and Secrets to certificates: each host is served by one, the oldest Ingress decides."""

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import Certificate, Problem
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import pem
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


def _translate(
    parts: Iterable[Part], snapshot: Snapshot, previous: Mapping[ObjectKey, str], refused: Mapping[str, str]
) -> Certificates:
    owners: dict[str, ObjectKey] = {}
    wanted: dict[ObjectKey, list[str]] = {}
    bundles: dict[ObjectKey, str] = {}
    problems: list[Problem] = []
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
                    wanted.setdefault(owner, []).append(host)
                else:
                    problems.append(_taken(part.owner, host, owner))
    served = tuple(_certificate(secret, hosts, bundles[secret]) for secret, hosts in sorted(wanted.items()))
    return Certificates(served, bundles, tuple(problems))


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


def _certificate(secret: ObjectKey, hosts: Iterable[str], content: str) -> Certificate:
    # A list entry of HAProxy cannot change its hosts, so another set of hosts is another certificate.
    names = tuple(sorted(set(hosts)))
    digest = hashlib.sha256("\n".join((*secret, *names)).encode()).hexdigest()[:16]
    return Certificate(f"{secret.namespace}_{secret.name}_{digest}", content, names)


def _taken(ingress: ObjectKey, host: str, secret: ObjectKey) -> Problem:
    return Problem(ingress, "HostConflict", f"host {host} is already served with Secret {secret} by an older Ingress")
