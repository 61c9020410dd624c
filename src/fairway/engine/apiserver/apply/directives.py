"""The `$` directives of a strategic merge patch: what they are called, and patches without them."""

from typing import Any, Final

PATCH: Final = "$patch"
RETAIN_KEYS: Final = "$retainKeys"
ELEMENT_ORDER: Final = "$setElementOrder/"
DELETE_PRIMITIVES: Final = "$deleteFromPrimitiveList/"


def is_directive(key: str) -> bool:
    """Whether a key of a patch instructs rather than names a field."""
    return key in (PATCH, RETAIN_KEYS) or key.startswith((ELEMENT_ORDER, DELETE_PRIMITIVES))


def plain(patch: Any) -> Any:
    """A patch as the value it leaves where there was none: no directives, no nulls, no elements marked as deleted."""
    if isinstance(patch, dict):
        return {key: plain(value) for key, value in patch.items() if value is not None and not is_directive(key)}
    if isinstance(patch, list):
        return [plain(item) for item in patch if not (isinstance(item, dict) and PATCH in item)]
    return patch
