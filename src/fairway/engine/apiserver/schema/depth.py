"""How deep an object may be nested.

Upstream stops at 10,000, where Go's JSON decoder gives up.  No API object comes near a hundredth of it, and what walks
through objects here, in every room that reads them, may then recurse without asking.
"""

from typing import Any, Final

DEPTH_MAX: Final = 256


def too_deep(value: Any) -> bool:
    """Whether containers are nested deeper than DEPTH_MAX. Goes level by level, so it does not recurse itself."""
    level, depth = [value] if value.__class__ in (dict, list) else [], 0
    while level and depth <= DEPTH_MAX:
        depth += 1
        inside = (item.values() if item.__class__ is dict else item for item in level)
        level = [child for children in inside for child in children if child.__class__ in (dict, list)]
    return depth > DEPTH_MAX


def may_be_too_deep(encoded: bytes) -> bool:
    """Whether JSON has brackets enough for it: false for nearly all, at the cost of counting."""
    return encoded.count(b"{") + encoded.count(b"[") > DEPTH_MAX
