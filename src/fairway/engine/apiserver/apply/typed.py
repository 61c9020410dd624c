"""Walk an object by its type: which fields it sets, how two objects differ, whether it fits.

The rules are those of structured-merge-diff: atomic lists and maps are one field, lists of type map are known by their
keys, and a node that exists only on one side counts itself as well as its children.
"""

from typing import Any, Final

from msgspec import Struct

from fairway.engine.apiserver.apply.fields import Fields, Path, element_of_keys, element_of_value
from fairway.engine.apiserver.schema.types import Shape, Type, field_of, item_of

ABSENT: Final[Any] = object()


class KeyMissing(Exception):
    """A list element lacks one of the keys that the list is merged by."""

    def __init__(self, path: Path, index: int, key: str) -> None:
        super().__init__(
            f'element {index}: associative list with keys has an element that omits key field "{key}" '
            "(and doesn't have default value)"
        )
        self.path = path
        self.index = index
        self.key = key


class Comparison(Struct):
    """How a new object differs from an old one, as sets of paths."""

    added: Fields
    modified: Fields
    removed: Fields


def is_leaf(type: Type, value: Any) -> bool:
    """Whether the value is owned as a whole: a scalar, or an atomic list or map."""
    if type.atomic:
        return True
    if type.shape in (Shape.OBJECT, Shape.MAP):
        return not isinstance(value, dict) and value is not None
    if type.shape is Shape.LIST:
        return not isinstance(value, list) and value is not None
    # A value that no schema describes: maps are granular, all else is a leaf.
    return not (type.shape is Shape.ANY and isinstance(value, dict))


def element(type: Type, item: Any, path: Path = (), index: int = 0) -> str:
    """The path element of one item of a list.  Raises KeyMissing."""
    if not type.keys:
        return element_of_value(item)
    if not isinstance(item, dict):
        raise KeyMissing(path, index, type.keys[0])
    keys: dict[str, Any] = {}
    for key in type.keys:
        value = item.get(key, type.key_defaults.get(key))
        if value is None:
            raise KeyMissing(path, index, key)
        keys[key] = value
    return element_of_keys(keys)


def indexed(type: Type, items: list[Any] | None, path: Path = ()) -> dict[str, list[Any]]:
    """The items of a list by path element, in order of first sight; more than one item is a duplicate."""
    found: dict[str, list[Any]] = {}
    for index, item in enumerate(items or ()):
        found.setdefault(element(type, item, path, index), []).append(item)
    return found


def fields_set(type: Type, value: Any) -> Fields:
    """The fields that an applied configuration sets.  Raises KeyMissing."""
    found: Fields = set()
    _set(type, value, (), found)
    found.discard(())
    return found


def _set(type: Type, value: Any, path: Path, found: Fields) -> None:
    if is_leaf(type, value):
        found.add(path)
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = (*path, f"f:{key}")
            _set(field_of(type, key), item, inner, found)
            if item is None or item == {} or key not in type.fields:
                found.add(inner)
    elif isinstance(value, list):
        for name, items in indexed(type, value, path).items():
            found.add((*path, name))
            if len(items) == 1:
                _set(item_of(type), items[0], (*path, name), found)


def compare(type: Type, old: Any, new: Any) -> Comparison:
    """The fields added, modified and removed from `old` to `new`.  Raises KeyMissing."""
    result = Comparison(set(), set(), set())
    _compare(type, old, new, (), result)
    result.added.discard(())
    result.removed.discard(())
    return result


def _compare(type: Type, old: Any, new: Any, path: Path, result: Comparison) -> None:
    if old is ABSENT:
        _one_sided(type, new, path, result.added)
    elif new is ABSENT:
        _one_sided(type, old, path, result.removed)
    elif old == new:
        return
    elif is_leaf(type, old) or is_leaf(type, new):
        _compare_leaf(type, old, new, path, result)
    elif not old and not new:
        result.modified.add(path)
    elif isinstance(old if old is not None else new, dict):
        _compare_members(type, old or {}, new or {}, path, result)
    else:
        _compare_elements(type, old, new, path, result)


def _compare_leaf(type: Type, old: Any, new: Any, path: Path, result: Comparison) -> None:
    """A leaf has changed; where only one side is a leaf, the other's children came or went."""
    result.modified.add(path)
    if not is_leaf(type, new):
        _one_sided(type, new, path, result.added)
        result.added.discard(path)
    elif not is_leaf(type, old):
        _one_sided(type, old, path, result.removed)
        result.removed.discard(path)


def _compare_members(type: Type, old: dict[str, Any], new: dict[str, Any], path: Path, result: Comparison) -> None:
    for key, item in old.items():
        other = new.get(key, ABSENT)
        if other is ABSENT or (item is not other and item != other):
            _compare(field_of(type, key), item, other, (*path, f"f:{key}"), result)
    for key, item in new.items():
        if key not in old:
            _one_sided(field_of(type, key), item, (*path, f"f:{key}"), result.added)


def _compare_elements(type: Type, old: Any, new: Any, path: Path, result: Comparison) -> None:
    before, after = indexed(type, old, path), indexed(type, new, path)
    for name in before | after:
        _compare_element(type, before.get(name, []), after.get(name, []), (*path, name), result)


def _compare_element(type: Type, old: list[Any], new: list[Any], path: Path, result: Comparison) -> None:
    """Items with one path element: one to one when each side has at most one, as one mark when it is a duplicate."""
    items = item_of(type)
    if len(old) < 2 and len(new) < 2:
        _compare(items, old[0] if old else ABSENT, new[0] if new else ABSENT, path, result)
    elif len(old) > 1 and len(new) > 1:
        if old != new:
            result.modified.add(path)
    elif len(old) > 1:
        if new:
            _one_sided(items, new[0], path, result.added)
        result.removed.add(path)
    else:
        if old:
            _one_sided(items, old[0], path, result.removed)
        result.added.add(path)


def _one_sided(type: Type, value: Any, path: Path, found: Fields) -> None:
    """A node that exists on one side only, and everything below it."""
    found.add(path)
    if is_leaf(type, value):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            _one_sided(field_of(type, key), item, (*path, f"f:{key}"), found)
    elif isinstance(value, list):
        for name, items in indexed(type, value, path).items():
            if len(items) > 1:
                found.add((*path, name))
            else:
                _one_sided(item_of(type), items[0], (*path, name), found)
