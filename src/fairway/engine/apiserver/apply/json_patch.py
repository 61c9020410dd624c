"""JSON patch (RFC 6902), with the limits and the error texts of the Kubernetes API server."""

from typing import Any, Final

import msgspec

from fairway.engine.apiserver.apply.errors import PatchError
from fairway.engine.apiserver.schema.depth import too_deep

OPERATIONS_MAX: Final = 10_000
COPIED_BYTES_MAX: Final = 3 * 1024 * 1024
"""Of JSON: a copy can double a document, and forty of them a thousand billion times (JSONPatchMaxCopyBytes)."""
_TOO_DEEP: Final = "the patched object is nested too deep"
_MISSING: Final = object()
_encode = msgspec.json.Encoder().encode


def apply(document: dict[str, Any], operations: Any) -> Any:
    """`document` after all operations; neither argument is changed.

    Raises PatchError: 400 for a patch that cannot be read, 413 for one that is too long, 422 for one that does not fit.
    """
    if not isinstance(operations, list):
        raise PatchError("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > OPERATIONS_MAX:
        raise PatchError(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_MAX}, got {len(operations)}", 413
        )
    root = _Document(document)
    try:
        for operation in operations:
            if not isinstance(operation, dict):
                raise PatchError("json: cannot unmarshal array into Go value of type jsonpatch.Operation")
            _step(root, operation)
    except RecursionError as error:  # on the way it may get deeper than any document
        raise PatchError(_TOO_DEEP, 422) from error
    if too_deep(root.value):
        raise PatchError(_TOO_DEEP, 422)
    return root.value


def _step(root: "_Document", operation: dict[str, Any]) -> None:
    word = operation.get("op")
    path = _pointer(operation, "path")
    if word == "add":
        root.add(path, _value(operation), "add")
    elif word == "replace":
        root.replace(path, _value(operation))
    elif word == "remove":
        root.remove(path, "remove")
    elif word == "test":
        _test(root, path, operation)
    elif word == "move":
        source = _pointer(operation, "from")
        if path[: len(source)] == source and len(path) > len(source):
            raise PatchError(f"move operation does not apply: {_text(source)} cannot move into itself", 422)
        root.add(path, root.remove(source, "move"), "move")
    elif word == "copy":
        root.copy(_pointer(operation, "from"), path)
    else:
        raise PatchError(f"Unexpected kind: {word if word is not None else 'unknown'}", 422)


def _test(root: "_Document", path: list[str], operation: dict[str, Any]) -> None:
    wanted = operation.get("value")
    found = root.find(path)
    if found is _MISSING:
        if wanted is not None:
            raise PatchError(f"testing path {_text(path)} failed: missing value", 422)
    elif not same(found, wanted):
        raise PatchError(f"testing value {_text(path)} failed: test failed", 422)


def same(left: Any, right: Any) -> bool:
    """JSON equality: unlike Python's, true is not 1."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _value(operation: dict[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(f"{operation['op']} operation for {operation['path']} has no value", 422)
    return operation["value"]


def _pointer(operation: dict[str, Any], name: str) -> list[str]:
    """The tokens of the JSON pointer (RFC 6901) that `operation` holds under `name`."""
    pointer = operation.get(name)
    if not isinstance(pointer, str):
        raise PatchError(f"{operation.get('op')} operation failed to decode {name}: missing value", 422)
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise PatchError(f'{operation.get("op")} operation does not apply: "{pointer}" is not a JSON pointer', 422)
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")]


def _text(path: list[str]) -> str:
    return "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in path)


class _Document:
    """A document that copies the containers on the way to each change, once, and shares the rest with the original."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self._own: dict[int, Any] = {}  # by id; the reference keeps the id from being used again
        self._copied_bytes = 0

    def find(self, path: list[str]) -> Any:
        """The value at `path`, or _MISSING."""
        value = self.value
        for token in path:
            value = _child(value, token)
            if value is _MISSING:
                return _MISSING
        return value

    def add(self, path: list[str], value: Any, word: str) -> None:
        if not path:
            self.value = value
            return
        parent = self._parent(path, word)
        if isinstance(parent, dict):
            parent[path[-1]] = value
        elif path[-1] == "-":
            parent.append(value)
        else:
            parent.insert(_index(path[-1], len(parent) + 1, word), value)

    def replace(self, path: list[str], value: Any) -> None:
        if not path:
            self.value = value
            return
        parent = self._parent(path, "replace")
        if _child(parent, path[-1]) is _MISSING:
            raise PatchError(f"replace operation does not apply: doc is missing key: {_text(path)}: missing value", 422)
        if isinstance(parent, dict):
            parent[path[-1]] = value
        else:
            parent[_index(path[-1], len(parent), "replace")] = value

    def remove(self, path: list[str], word: str) -> Any:
        if not path:
            raise PatchError(f"{word} operation does not apply: the whole document cannot be removed", 422)
        parent = self._parent(path, word)
        if isinstance(parent, list):
            return parent.pop(_index(path[-1], len(parent), word))
        if path[-1] not in parent:
            raise PatchError(f"{word} operation does not apply: Unable to remove nonexistent key: {path[-1]}", 422)
        return parent.pop(path[-1])

    def copy(self, source: list[str], path: list[str]) -> None:
        value = self.find(source)
        if value is _MISSING:
            raise PatchError(f"copy operation does not apply: doc is missing path: {_text(source)}: missing value", 422)
        self._copied_bytes += len(_encode(value))
        if self._copied_bytes > COPIED_BYTES_MAX:
            raise PatchError(
                f"Unable to copy, the accumulated size increase of copy is {self._copied_bytes}, "
                f"exceeding the limit {COPIED_BYTES_MAX}",
                422,
            )
        self._own.clear()  # what was ours alone is now in two places
        self.add(path, value, "copy")

    def _parent(self, path: list[str], word: str) -> Any:
        self.value = parent = self._writable(self.value)
        for token in path[:-1]:
            child = _child(parent, token)
            if not isinstance(child, dict | list):
                message = f'{word} operation does not apply: doc is missing path: "{_text(path)}": missing value'
                raise PatchError(message, 422)
            child = self._writable(child)
            if isinstance(parent, dict):
                parent[token] = child
            else:
                parent[_index(token, len(parent), word)] = child
            parent = child
        if not isinstance(parent, dict | list):
            raise PatchError(f'{word} operation does not apply: doc is missing path: "{_text(path)}"', 422)
        return parent

    def _writable(self, value: Any) -> Any:
        if id(value) in self._own or not isinstance(value, dict | list):
            return value
        copied = value.copy()
        self._own[id(copied)] = copied
        return copied


def _child(value: Any, token: str) -> Any:
    if isinstance(value, dict):
        return value.get(token, _MISSING)
    if isinstance(value, list) and _digits(token):
        index = int(token)
        return value[index] if -len(value) <= index < len(value) else _MISSING
    return _MISSING


def _digits(token: str) -> bool:
    number = token.removeprefix("-")
    return number.isascii() and number.isdigit() and len(number) < 10


def _index(token: str, length: int, word: str) -> int:
    """An array index, negative ones counted from the end as upstream allows."""
    if _digits(token):
        index = int(token)
        if -length <= index < length:
            return index if index >= 0 else index + length
    raise PatchError(f"{word} operation does not apply: Unable to access invalid index: {token}: invalid index", 422)
