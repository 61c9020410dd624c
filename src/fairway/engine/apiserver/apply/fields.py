"""Sets of field paths, as `managedFields` writes them (FieldsV1) and as messages print them.

A path is a tuple of FieldsV1 keys: `f:name` a member, `k:{"name":"web"}` a list element by its keys, `v:"x"` a set
element by its value.  A set of fields is a Python set of paths, so that union and difference are Python's own.
"""

import json
from collections.abc import Iterable
from typing import Any

import msgspec

Path = tuple[str, ...]
Fields = set[Path]

_ORDER = {"f": 0, "k": 1, "v": 2, "i": 3}


def decode(tree: dict[str, Any]) -> Fields:
    """The paths in a FieldsV1 object.  Raises ValueError when it is not one."""
    found: Fields = set()
    _decode(tree, (), found)
    return found


def _decode(tree: Any, path: Path, found: Fields) -> None:
    if not isinstance(tree, dict):
        raise ValueError(f"fieldsV1 at {text(path)} is not an object")
    for key, inner in tree.items():
        if key == ".":
            found.add(path)
        elif key[:2] not in ("f:", "k:", "v:", "i:"):
            raise ValueError(f"fieldsV1 has a key of an unknown form: {key}")
        elif inner:
            _decode(inner, (*path, key), found)
        else:
            found.add((*path, key))
    found.discard(())


def encode(fields: Iterable[Path]) -> dict[str, Any]:
    """The FieldsV1 object of a set of paths, in upstream's order: `.` first, members, then elements, each sorted."""
    root: dict[str, Any] = {}
    members: set[int] = set()
    for path in sorted(fields, key=_sort_key):
        node = root
        for key in path:
            node = node.setdefault(key, {})
        members.add(id(node))
    _mark(root, members)
    return root


def _sort_key(path: Path) -> list[tuple[int, str]]:
    return [(_ORDER[key[0]], key) for key in path]


def _mark(node: dict[str, Any], members: set[int]) -> None:
    """Add `.` to each node that is owned itself and has owned children."""
    for child in node.values():
        if child:
            _mark(child, members)
    if node and id(node) in members:
        children = dict(node)
        node.clear()
        node["."] = {}
        node.update(children)


def outside(fields: Fields, roots: Iterable[Path]) -> Fields:
    """`fields` without those at or below one of `roots`."""
    tops = tuple(roots)
    if not tops:
        return fields
    return {path for path in fields if not any(path[: len(top)] == top for top in tops)}


def element_of_value(value: Any) -> str:
    """The path element of a set's item."""
    return "v:" + msgspec.json.encode(value).decode()


def element_of_keys(keys: dict[str, Any]) -> str:
    """The path element of a list item that is known by its keys."""
    return "k:" + msgspec.json.encode(keys, order="sorted").decode()


def text(path: Path) -> str:
    """A path as messages print it: `.spec.containers[name="web"].image`."""
    return "".join(map(_element_text, path))


def _element_text(element: str) -> str:
    form, _, content = element.partition(":")
    if form == "f":
        return f".{content}"
    if form == "k" and isinstance(keys := _decoded(content), dict):
        pairs = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in keys.items())
        return f"[{','.join(pairs)}]"
    return f"[={content}]" if form == "v" else f"[{content}]"


def _decoded(content: str) -> Any:
    """The JSON of a path element; nothing when a client has written something else there."""
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None
