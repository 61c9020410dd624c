"""Merge an applied configuration into an object, and take fields out of one: the two writes of server-side apply."""

from typing import Any

from fairway.engine.apiserver.apply.fields import Fields, Path
from fairway.engine.apiserver.apply.typed import element, indexed, is_leaf
from fairway.engine.apiserver.schema.types import Shape, Type, field_of, item_of

# A set of paths by first element: whether that element itself is in the set, and what lies below it.
Tree = dict[str, tuple[bool, "Tree"]]


def merged(type: Type, live: Any, applied: Any) -> Any:
    """`live` with all of `applied` in it; lists merge by key and take the applied order.  Raises KeyMissing."""
    if is_leaf(type, applied) or is_leaf(type, live):
        return applied
    if isinstance(applied, dict):
        return _merged_members(type, live or {}, applied)
    if isinstance(applied, list):
        return _merged_elements(type, live or [], applied) if applied and live else applied or live or applied
    return live if live else applied


def _merged_members(type: Type, live: dict[str, Any], applied: dict[str, Any]) -> dict[str, Any]:
    result = dict(live)
    for key, value in applied.items():
        current = live.get(key)
        result[key] = value if current is None else merged(field_of(type, key), current, value)
    return result


def _merged_elements(type: Type, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied items in their order; items only in `live` keep their place between the items they share."""
    theirs = [element(type, item) for item in live]
    by_name = indexed(type, live)
    ours = {element(type, item): item for item in applied}
    items = item_of(type)

    def item(name: str) -> Any:
        known = by_name.get(name, [])
        return merged(items, known[0], ours[name]) if len(known) == 1 else ours[name]

    result: list[Any] = []
    done: set[str] = set()
    left, right = 0, 0
    names = list(ours)
    shared = [name for name in names if name in by_name]
    while left < len(theirs) or right < len(names):
        if left < len(theirs) and right < len(names):
            name = theirs[left]
            if name == names[right]:
                result.append(item(name))
                done.add(name)
                shared = _without_first(shared, name)
                left, right = left + 1, right + 1
                continue
            if name in ours and shared and shared[0] != name:
                left += 1
                continue
        if left < len(theirs):
            name = theirs[left]
            if name not in ours:
                result.append(live[left])
                left += 1
                continue
            if name in done:
                left += 1
        if right < len(names):
            name = names[right]
            result.append(item(name))
            done.add(name)
            shared = _without_first(shared, name)
            right += 1
    return result


def _without_first(names: list[str], name: str) -> list[str]:
    return names[1:] if names and names[0] == name else names


def tree(fields: Fields) -> Tree:
    """A set of paths, nested."""
    result: Tree = {}
    for path in fields:
        _plant(result, path)
    return result


def _plant(node: Tree, path: Path) -> None:
    for depth, name in enumerate(path):
        own, below = node.get(name, (False, {}))
        node[name] = (own or depth == len(path) - 1, below)
        node = below


def without(type: Type, value: Any, fields: Tree) -> Any:
    """`value` without the given fields; containers that become empty stay, as `{}` or `[]`."""
    if not fields or is_leaf(type, value):
        return value
    if isinstance(value, dict):
        return _without_members(type, value, fields)
    if isinstance(value, list):
        return _without_elements(type, value, fields)
    return value


def _without_members(type: Type, value: dict[str, Any], fields: Tree) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, item in value.items():
        own, below = fields.get(f"f:{key}", (False, {}))
        if not own:
            result[key] = without(field_of(type, key), item, below)
    return result


def _without_elements(type: Type, value: list[Any], fields: Tree) -> list[Any]:
    result: list[Any] = []
    for item in value:
        own, below = fields.get(element(type, item), (False, {}))
        if not own:
            result.append(without(item_of(type), item, below))
    return result


def named(type: Type, fields: Fields) -> Fields:
    """`fields` with each struct member that has an owned field below it: such members are owned by being there."""
    result = set(fields)
    for path in fields:
        here = type
        for depth, name in enumerate(path[:-1]):
            if here.shape is Shape.OBJECT and name.startswith("f:") and name[2:] in here.fields:
                result.add(path[: depth + 1])
            here = field_of(here, name[2:]) if name.startswith("f:") else item_of(here)
    return result


def without_nulls(value: Any) -> Any:
    """`value` without null members: an applied null takes the field away; sound parts are shared."""
    if isinstance(value, dict):
        kept = {key: without_nulls(item) for key, item in value.items() if item is not None}
        same = len(kept) == len(value) and all(kept[key] is item for key, item in value.items())
        return value if same else kept
    if isinstance(value, list):
        items = [without_nulls(item) for item in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value
