"""Validate a value by a structural schema: every cause, in the order and words of upstream's validator.

A subtree that an update does not change is not held against the object (KEP-4008, "CRD validation ratcheting").
"""

from typing import Any, Final

from fairway.engine.apiserver.schema.check import REQUIRED, Cause
from fairway.engine.apiserver.schema.custom import causes
from fairway.engine.apiserver.schema.custom.formats import FORMATS
from fairway.engine.apiserver.schema.custom.node import META_FIELDS, UNSET, Node

NEW: Final = UNSET
"""There was no such value before."""
# How upstream calls what it found.
_NAMES: Final[dict[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
    type(None): "null",
}


def check(node: Node, value: Any, old: Any = NEW) -> list[Cause]:
    """Everything that is wrong with an object; `old` is what it replaces."""
    found: list[Cause] = []
    _check(node, value, old, "", found, root=True)
    return found


def _check(node: Node, value: Any, old: Any, path: str, found: list[Cause], *, root: bool = False) -> None:
    if old is not NEW and old == value:
        return
    if value is None and node.nullable:
        return
    _check_type(node, value, path, found)
    if value is None:
        _check_enum(node, value, path, found)
        return
    _check_junctors(node, value, path, found)
    if value.__class__ is str:
        _check_text(node, value, path, found)
    elif value.__class__ in (int, float):
        _check_number(node, value, path, found)
    elif value.__class__ is list:
        _check_items(node, value, old, path, found)
    _check_enum(node, value, path, found)
    if value.__class__ is dict:
        _check_members(node, value, old, path, found, root)


def _at(path: str) -> str:
    return path or causes.NOWHERE


def _check_type(node: Node, value: Any, path: str, found: list[Cause]) -> None:
    if not node.types or fits(node.types, value):
        return
    name = _NAMES[value.__class__]
    listed = ",".join(node.types)
    found.append(causes.wrong_type(_at(path), name, f'{path} in body must be of type {listed}: "{name}"'))


def fits(types: tuple[str, ...], value: Any) -> bool:
    """Whether a value is of one of the types; whole numbers are integers however they are written."""
    name = _NAMES[value.__class__]
    if name in types:
        return True
    if name == "integer":
        return "number" in types
    return name == "number" and "integer" in types and value.is_integer()


def _check_text(node: Node, value: str, path: str, found: list[Cause]) -> None:
    limits, at = node.limits, _at(path)
    if "maxLength" in limits and len(value) > limits["maxLength"]:
        found.append(causes.too_long(at, int(limits["maxLength"])))
    if "minLength" in limits and len(value) < limits["minLength"]:
        says = f"{path} in body should be at least {int(limits['minLength'])} chars long"
        found.append(causes.invalid(at, value, says))
    if node.matches is not None and not node.matches(value):
        found.append(causes.invalid(at, value, f"{path} in body should match '{node.pattern}'"))
    if node.format and not FORMATS[node.format](value):
        found.append(
            causes.wrong_type(at, value, f"{path} in body must be of type {node.format}: {causes.shown(value)}")
        )


def _check_number(node: Node, value: float, path: str, found: list[Cause]) -> None:
    limits = node.limits
    if not limits:
        return
    factor, low, high = limits.get("multipleOf"), limits.get("minimum"), limits.get("maximum")
    if factor and value % factor:
        found.append(causes.invalid(_at(path), value, f"{path} in body should be a multiple of {_number(factor)}"))
    if high is not None and (value > high or (limits.get("exclusiveMaximum") and value == high)):
        than = "less than" if limits.get("exclusiveMaximum") else "less than or equal to"
        found.append(causes.invalid(_at(path), value, f"{path} in body should be {than} {_number(high)}"))
    if low is not None and (value < low or (limits.get("exclusiveMinimum") and value == low)):
        than = "greater than" if limits.get("exclusiveMinimum") else "greater than or equal to"
        found.append(causes.invalid(_at(path), value, f"{path} in body should be {than} {_number(low)}"))


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _check_enum(node: Node, value: Any, path: str, found: list[Cause]) -> None:
    if node.enum is not None and not any(_same(value, option) for option in node.enum):
        found.append(causes.unsupported(_at(path), value, node.enum))


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: True is not 1."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _check_items(node: Node, value: list[Any], old: Any, path: str, found: list[Cause]) -> None:
    limits = node.limits
    if node.items is not None:
        before = _by_key(node, old)
        for index, item in enumerate(value):
            _check(node.items, item, before.get(_key(node, item), NEW), f"{path}[{index}]", found)
    if "minItems" in limits and len(value) < limits["minItems"]:
        says = f"{path} in body should have at least {int(limits['minItems'])} items"
        found.append(causes.invalid(_at(path), len(value), says))
    if "maxItems" in limits and len(value) > limits["maxItems"]:
        found.append(causes.too_many(_at(path), len(value), int(limits["maxItems"])))
    _check_unique(node, value, path, found)


def _check_unique(node: Node, value: list[Any], path: str, found: list[Cause]) -> None:
    """Sets and maps hold each element once."""
    if node.list_type not in ("set", "map"):
        return
    seen: set[str] = set()
    for index, item in enumerate(value):
        key = _key(node, item) if node.list_type == "map" else causes.shown(item)
        if key in seen:
            what = {name: item.get(name) for name in node.list_keys} if node.list_type == "map" else item
            found.append(causes.duplicate(f"{path}[{index}]", what))
        seen.add(key)


def _key(node: Node, item: Any) -> str:
    """What makes an element of a list of type map itself; empty for other lists."""
    if node.list_type != "map" or not isinstance(item, dict):
        return ""
    return causes.shown([item.get(name) for name in node.list_keys])


def _by_key(node: Node, old: Any) -> dict[str, Any]:
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    return {_key(node, item): item for item in old if isinstance(item, dict)}


def _check_members(node: Node, value: dict[str, Any], old: Any, path: str, found: list[Cause], root: bool) -> None:
    limits, before = node.limits, old if isinstance(old, dict) else {}
    if "minProperties" in limits and len(value) < limits["minProperties"]:
        says = f"{path} in body should have at least {int(limits['minProperties'])} properties"
        found.append(causes.invalid(_at(path), len(value), says))
    if "maxProperties" in limits and len(value) > limits["maxProperties"]:
        found.append(causes.too_many(_at(path), len(value), int(limits["maxProperties"])))
    for name in node.required:
        if name not in value:
            found.append(causes.required(f"{path}.{name}" if path else name))
    for key, item in value.items():
        inner = node.member(key)
        if inner is not None and not (root and key in META_FIELDS and key not in node.fields):
            _check(inner, item, before.get(key, NEW), f"{path}.{key}" if path else key, found)
    if node.embedded:
        _check_embedded(value, path, found)


def _check_embedded(value: dict[str, Any], path: str, found: list[Cause]) -> None:
    """An object within an object says what it is."""
    for key in ("apiVersion", "kind"):
        if not value.get(key) and not any(
            cause.field == f"{path}.{key}" and cause.reason == REQUIRED for cause in found
        ):
            found.append(causes.required(f"{path}.{key}", "must not be empty"))


# --- allOf, anyOf, oneOf, not


def _check_junctors(node: Node, value: Any, path: str, found: list[Cause]) -> None:
    named = causes.shown(path)
    if node.any_of:
        failures = [_failures(branch, value, path) for branch in node.any_of]
        if all(failures):
            found.append(_composite(f"{named} must validate at least one schema (anyOf)"))
            found += _shortest(failures)
    if node.one_of:
        _check_one_of(node, value, path, found)
    if node.all_of:
        failures = [_failures(branch, value, path) for branch in node.all_of]
        wrong = [failure for failure in failures if failure]
        if wrong:
            says = "must validate all the schemas (allOf)"
            found.append(_composite(f"{named} {says}{'. None validated' if len(wrong) == len(failures) else ''}"))
            found += [cause for failure in wrong for cause in failure]
    if node.not_ is not None and not _failures(node.not_, value, path):
        found.append(_composite(f"{named} must not validate the schema (not)"))


def _check_one_of(node: Node, value: Any, path: str, found: list[Cause]) -> None:
    failures = [_failures(branch, value, path) for branch in node.one_of]
    valid = sum(not failure for failure in failures)
    if valid == 1:
        return
    count = "Found none valid" if not valid else f"Found {valid} valid alternatives"
    found.append(_composite(f"{causes.shown(path)} must validate one and only one schema (oneOf). {count}"))
    if not valid:
        found += _shortest(failures)


def _failures(node: Node, value: Any, path: str) -> list[Cause]:
    found: list[Cause] = []
    _check(node, value, NEW, path, found)
    return found


def _shortest(failures: list[list[Cause]]) -> list[Cause]:
    return min(failures, key=lambda failure: len(failure))


def _composite(message: str) -> Cause:
    return causes.invalid(causes.NOWHERE, "", message)
