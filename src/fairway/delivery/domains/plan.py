"""Whether an App may claim a host: policies in, a refusal for people out."""

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from fairway.delivery.kinds.domains import DomainPolicy
from fairway.toolkit.expressions import matcher


class Wish(msgspec.Struct, frozen=True):
    """A host, and who wants it for what."""

    host: str
    namespace: str
    app: str
    environment: str


def refusal(wish: Wish, policies: Sequence[DomainPolicy]) -> str:
    """Why the wish is refused, with what to do about it; "" when it is allowed.

    Of the policies that cover a host those with the longest suffix decide, so that a team may have its own part of a
    larger domain; one of them that agrees is enough.
    """
    if _is_address(wish.host):
        return _text(wish, "is an address, not a name; sites are found by name")
    ordered = sorted(policies, key=lambda policy: policy.metadata.name)
    if taken := _reserved(wish, ordered):
        return taken
    deciding = _most_specific(wish.host, ordered)
    if not deciding:
        return _uncovered(wish, ordered)
    answers = [_answer(wish, policy, suffix) for policy, suffix in deciding]
    return "" if "" in answers else answers[0]


def _reserved(wish: Wish, policies: Iterable[DomainPolicy]) -> str:
    bare = _bare(wish.host)
    for policy in policies:
        for host in policy.spec.reserved:
            if host == wish.host or (wish.host.startswith("*.") and host.partition(".")[2] == bare):
                what = "is reserved" if host == wish.host else f"would also cover {host}, which is reserved"
                return _text(wish, f"{what} by DomainPolicy {policy.metadata.name}; choose another host")
    return ""


def _most_specific(host: str, policies: Iterable[DomainPolicy]) -> list[tuple[DomainPolicy, str]]:
    bare = _bare(host)
    covering = [
        (policy, suffix)
        for policy in policies
        for suffix in policy.spec.suffixes
        if bare == suffix or bare.endswith("." + suffix)
    ]
    longest = max((len(suffix) for _, suffix in covering), default=0)
    return [(policy, suffix) for policy, suffix in covering if len(suffix) == longest]


def _uncovered(wish: Wish, policies: Sequence[DomainPolicy]) -> str:
    if not any(policy.spec.exclusive for policy in policies):
        return ""
    mine = [policy for policy in policies if not policy.spec.namespaces or wish.namespace in policy.spec.namespaces]
    suffixes = sorted({suffix for policy in mine for suffix in policy.spec.suffixes})
    fix = f"use a host that ends in .{' or .'.join(suffixes)}" if suffixes else "ask who keeps the policies for one"
    return _text(wish, f"is covered by no DomainPolicy; {fix}")


def _answer(wish: Wish, policy: DomainPolicy, suffix: str) -> str:
    name, spec = policy.metadata.name, policy.spec
    if spec.namespaces and wish.namespace not in spec.namespaces:
        whose = ", ".join(spec.namespaces)
        return _text(wish, f"belongs by DomainPolicy {name} to namespace {whose}, not {wish.namespace}")
    if spec.template:
        wanted = _filled(spec.template, wish)
        if wish.host != wanted:
            return _text(wish, f"is not what DomainPolicy {name} wants ({spec.template}); use {wanted}")
    return _unlike(wish, policy, suffix) if spec.pattern else ""


def _unlike(wish: Wish, policy: DomainPolicy, suffix: str) -> str:
    name, pattern = policy.metadata.name, policy.spec.pattern
    front = wish.host.removesuffix(suffix).removesuffix(".")
    try:
        agrees = matcher(f"^(?:{pattern})$")
    except ValueError as error:
        return _text(wish, f"cannot be judged: spec.pattern of DomainPolicy {name} is no regular expression: {error}")
    if agrees(front):
        return ""
    return _text(wish, f'has "{front}" before .{suffix}; DomainPolicy {name} wants what matches {pattern}')


def _filled(template: str, wish: Wish) -> str:
    names = {"{app}": wish.app, "{namespace}": wish.namespace, "{environment}": wish.environment}
    for name, value in names.items():
        template = template.replace(name, value)
    return template


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _bare(host: str) -> str:
    return host.removeprefix("*.")


def _text(wish: Wish, problem: str) -> str:
    return f'domain "{wish.host}" {problem}'
