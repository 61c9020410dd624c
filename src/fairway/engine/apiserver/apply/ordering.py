"""The order of a merged list: the patch's elements as the patch has them, the others near their old place."""

from typing import Any

from fairway.engine.apiserver.apply.errors import PatchError


def arranged(merged: list[Any], patch: list[Any], original: list[Any], key: str) -> list[Any]:
    """`merged` in order; elements are known by their value of `key`, or by themselves when there is none.

    Elements of `patch` keep the patch's relative order, the rest keep the order of `original`; an element of the rest
    goes before the first patch element that followed it in `original`.
    """
    places = {identity(item, key): index for index, item in enumerate(patch)}
    known = {identity(item, key): index for index, item in enumerate(original)}
    ours = [item for item in merged if identity(item, key) in places]
    ours.sort(key=lambda item: places[identity(item, key)])
    rest = [item for item in merged if identity(item, key) not in places]
    rest.sort(key=lambda item: known.get(identity(item, key), len(known)))
    return _interleaved(rest, ours, known, key)


def _interleaved(rest: list[Any], ours: list[Any], known: dict[Any, int], key: str) -> list[Any]:
    result: list[Any] = []
    taken = 0
    for item in ours:
        place = known.get(identity(item, key))
        while place is not None and taken < len(rest) and known.get(identity(rest[taken], key), place) < place:
            result.append(rest[taken])
            taken += 1
        result.append(item)
    return result + rest[taken:]


def identity(item: Any, key: str) -> Any:
    """What makes an element of a merged list itself."""
    return key_of(item, key) if key else item


def key_of(item: Any, key: str) -> Any:
    """The merge key of an element.  Raises PatchError when it has none."""
    if not isinstance(item, dict):
        raise PatchError(f"expected a map[string]interface {{}}, but received a {go_type(item)}")
    if key not in item:
        raise PatchError(f"map: {go_text(item)} does not contain declared merge key: {key}")
    value = item[key]
    return value if not isinstance(value, dict | list) else go_text(value)


def go_text(value: Any) -> str:
    """A value as Go's `%v` prints it, because messages of upstream contain it."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{go_text(item)}" for name, item in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(go_text, value)) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


def go_type(value: Any) -> str:
    """The Go type of a decoded JSON value."""
    names = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool", float: "float64"}
    return names.get(value.__class__, "int64" if isinstance(value, int) else "<nil>")
