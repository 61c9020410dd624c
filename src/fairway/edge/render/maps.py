"""Routes to map entries.

A value is the name of a backend where that says it all, and `s|BACKEND` where plain HTTP is redirected to HTTPS.
Everything else is `FLAGS|BACKEND|CANARY|ARGUMENT` with the flags

    s  redirect plain HTTP to HTTPS      n  answer 404           rCODE  redirect to ARGUMENT
    c  CANARY is a key of the canary map u  answer 503           w      the path becomes ARGUMENT

and `~` says that the paths of this host are expressions. The rules that read them are in `frontend.py`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

import msgspec

from fairway.edge.ir import Canary, Forward, NotFound, PathKind, Redirect, Route
from fairway.edge.place import Placement
from fairway.edge.render.rendered import CANARY_MAP, EXACT_MAP, PREFIX_MAP, REGEX_MAP

REGEX_HOST = "~"
_DRAWS = 1_000_000


class Maps(msgspec.Struct, frozen=True):
    """Entries by file; those of `ordered` are tried from the top."""

    keyed: Mapping[str, Mapping[str, str]]
    ordered: Mapping[str, tuple[tuple[str, str], ...]]


def maps(routes: Iterable[Route], placement: Placement) -> Maps:
    """All entries; `routes` come in the order in which expressions are tried."""
    exact: dict[str, str] = {}
    prefix: dict[str, str] = {}
    regex: list[tuple[str, str]] = []
    values = _Values(placement)
    for route in routes:
        value = values.of(route)
        if route.match.kind is PathKind.REGEX:
            prefix[f"{route.match.host}/"] = REGEX_HOST
            regex.append((_expression(route), value))
        else:
            is_exact, key = route.match.key
            (exact if is_exact else prefix)[key] = value
    keyed = {EXACT_MAP: exact, PREFIX_MAP: prefix, CANARY_MAP: values.canaries}
    return Maps(keyed, {REGEX_MAP: tuple(regex)})


def _expression(route: Route) -> str:
    # The group keeps an alternative inside the path from escaping the host, and does not count as $1.
    return f"^{re.escape(route.match.host)}(?i:{route.match.path})"


class _Values:
    """Makes values, and the canary entries that they point to."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self.canaries: dict[str, str] = {}

    def of(self, route: Route) -> str:
        secure = "s" if route.https_only else ""
        match route.action:
            case NotFound():
                return f"{secure}n|||"
            case Redirect(code=code, location=location):
                return f"{secure}r{code}|||{location}"
            case Forward() as forward:
                return self._forward(route, forward, secure)

    def _forward(self, route: Route, forward: Forward, flags: str) -> str:
        name = self._placement.names[forward.backend]
        canary = self._canary(forward.canary) if forward.canary else ""
        if not self._serves(forward.backend):
            return f"{flags}u|{name}||"
        if not canary and not forward.rewrite and route.match.kind is not PathKind.REGEX:
            return f"{flags}|{name}" if flags else name
        flags += ("c" if canary else "") + ("w" if forward.rewrite else "")
        rewrite = forward.rewrite.replace("$", "\\") if forward.rewrite else ""
        return f"{flags or '-'}|{name}|{canary}|{rewrite}"

    def _serves(self, backend: str) -> bool:
        return any(self._placement.slots[self._placement.names[backend]])

    def _canary(self, canary: Canary) -> str:
        if not self._serves(canary.backend):
            return ""
        share = min(canary.weight * _DRAWS // canary.weight_total, _DRAWS)
        name = self._placement.names[canary.backend]
        value = f"{share}|{name}|{canary.header}|{canary.header_value}|{canary.cookie}"
        key = hashlib.sha256(value.encode()).hexdigest()[:12]
        self.canaries[key] = value
        return key
