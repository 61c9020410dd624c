"""Canary Ingresses: who gets them is their own say, how servers are spoken to that of the main Ingress."""

import msgspec

from fairway.edge.ir import Canary
from fairway.edge.policy import Profile
from fairway.edge.translate.part import Part

MANY = 8  # of one route: each costs a few rules


def profile(part: Part, main: Profile, number: int) -> Profile:
    """As ingress-nginx: of a canary's annotations only load-balance, upstream-hash-by and affinity count.

    With affinity its servers have a cookie of their own, so that the cookie tells on which side a client is.
    """
    affinity = main.affinity and msgspec.structs.replace(main.affinity, cookie=f"{main.affinity.cookie}-canary{number}")
    return msgspec.structs.replace(
        main,
        affinity=affinity,
        hash_by=part.profile.hash_by or main.hash_by,
        balance=part.profile.balance or main.balance,
    )


def canary(part: Part, main: Part, backend: str, wanted: Profile) -> Canary:
    """What decides about a canary of a main Ingress."""
    settings = part.settings
    sticky = ("", "")
    if wanted.affinity and main.profile.affinity and settings.affinity_canary_behavior == "sticky":
        sticky = (wanted.affinity.cookie, main.profile.affinity.cookie)
    return Canary(
        backend,
        weight=settings.canary_weight,
        weight_total=settings.canary_weight_total,
        header=settings.canary_by_header.lower(),
        header_value=settings.canary_by_header_value,
        header_pattern="" if settings.canary_by_header_value else settings.canary_by_header_pattern,
        cookie=settings.canary_by_cookie,
        sticky=sticky,
    )
