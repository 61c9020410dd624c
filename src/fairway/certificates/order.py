"""Which certificate a Secret should hold: the hosts of every Ingress that names it."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address

import msgspec

from fairway.certificates.config import Config
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
ACME_ANNOTATION = "kubernetes.io/tls-acme"
ISSUER_ANNOTATIONS = ("cert-manager.io/cluster-issuer", "cert-manager.io/issuer")

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_NAME_LENGTH_MAX = 253


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with an Ingress, as an Event says it."""

    reason: str
    message: str


class Order(msgspec.Struct, frozen=True):
    """Hosts, sorted, for one Secret; `ingresses` are those that ask. Nobody asks: both are empty."""

    secret: ObjectKey
    hosts: tuple[str, ...] = ()
    ingresses: tuple[Ingress, ...] = ()
    problems: tuple[tuple[Ingress, Problem], ...] = ()


def serves(ingress: Ingress, classes: Mapping[str, IngressClass], config: Config) -> bool:
    """Whether an Ingress is ours: the old annotation decides first, then the class by name, then the default class."""
    named = ingress.metadata.annotations.get(CLASS_ANNOTATION)
    if named in config.class_names:
        return True
    name = named or ingress.spec.ingress_class_name
    if name:
        return name in classes and classes[name].spec.controller in config.controllers
    return any(item.default and item.spec.controller in config.controllers for item in classes.values())


def secrets_of(ingress: Ingress) -> tuple[ObjectKey, ...]:
    """The Secrets that an Ingress names, each once."""
    names = dict.fromkeys(entry.secret_name for entry in ingress.spec.tls if entry.secret_name)
    return tuple(ObjectKey(ingress.metadata.namespace, name) for name in names)


def order(secret: ObjectKey, asking: Iterable[Ingress], classes: Mapping[str, IngressClass], config: Config) -> Order:
    """What the Ingresses that name a Secret want in it; hosts that no certificate can name are problems."""
    ours = [one for one in asking if serves(one, classes, config) and not _left_to_others(one, config)]
    ours = [one for one in ours if one.metadata.deletion_timestamp is None]
    ours.sort(key=lambda one: one.metadata.name)
    hosts: set[str] = set()
    problems: list[tuple[Ingress, Problem]] = []
    for ingress in ours:
        for host in _hosts(ingress, secret.name):
            if why := refusal(host):
                problems.append((ingress, Problem("InvalidHost", f"no certificate for host {host[:300]!r}: {why}")))
            else:
                hosts.add(host)
    return Order(secret, tuple(sorted(hosts)), tuple(ours), tuple(problems))


def unserved_wish(ingress: Ingress) -> Problem | None:
    """What to do for an Ingress that asks for a certificate but names no Secret for it."""
    annotations = ingress.metadata.annotations
    wish = ACME_ANNOTATION if annotations.get(ACME_ANNOTATION) == "true" else ""
    wish = wish or next((name for name in ISSUER_ANNOTATIONS if annotations.get(name)), "")
    if not wish or secrets_of(ingress):
        return None
    hosts = ", ".join(rule.host for rule in ingress.spec.rules if rule.host) or "the hosts"
    fix = f"add spec.tls with hosts [{hosts}] and secretName {ingress.metadata.name}-tls"
    return Problem("NoSecretName", f"annotation {wish} asks for a certificate, but spec.tls names no Secret: {fix}")


def refusal(host: str) -> str:
    """Why a certificate cannot name a host (RFC 1035 lengths, RFC 6125 wildcards); "" when it can."""
    if _is_address(host):
        return "it is an address, and clients ask for names"
    if len(host) > _NAME_LENGTH_MAX:
        return f"it is longer than {_NAME_LENGTH_MAX} characters"
    bare = host.removeprefix("*.")
    bad = next((label for label in bare.split(".") if not _LABEL.match(label)), None)
    if bad is None:
        return ""
    if "*" in bad:
        return "a wildcard stands only for the whole first label, as in *.example.com"
    return f"label {bad[:80]!r} is not 1 to 63 of a-z, 0-9 and inner hyphens"


def _hosts(ingress: Ingress, secret_name: str) -> tuple[str, ...]:
    """The hosts of the sections that name the Secret; a section without hosts means those of the rules."""
    found: dict[str, None] = {}
    for entry in ingress.spec.tls:
        if entry.secret_name == secret_name:
            named = entry.hosts or tuple(rule.host for rule in ingress.spec.rules if rule.host)
            found |= dict.fromkeys(host.lower() for host in named)
    return tuple(found)


def _left_to_others(ingress: Ingress, config: Config) -> bool:
    return not config.cluster_issuers and any(ingress.metadata.annotations.get(name) for name in ISSUER_ANNOTATIONS)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
