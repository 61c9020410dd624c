"""JSON merge patch (RFC 7386)."""

from typing import Any

from fairway.engine.apiserver.apply.errors import PatchError


def apply(document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """`document` with `patch` merged in: null removes, objects merge, all else replaces.

    Raises PatchError when the patch is not an object.  The result shares unchanged parts with both.
    """
    if not isinstance(patch, dict):
        raise PatchError("Invalid JSON Patch: a merge patch must be an object")
    return _merged(document, patch)


def _merged(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = _merged(result.get(key), value)
        else:
            result[key] = value
    return result
