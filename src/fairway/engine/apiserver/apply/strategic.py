"""Strategic merge patch: lists of objects merge by key, as each field's patch strategy says.

Follows the design of strategic merge patch in the Kubernetes community repository, all directives included:
`$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/…` and `$deleteFromPrimitiveList/…`.
"""

from typing import Any

from fairway.engine.apiserver.apply.directives import (
    DELETE_PRIMITIVES,
    ELEMENT_ORDER,
    PATCH,
    RETAIN_KEYS,
    is_directive,
    plain,
)
from fairway.engine.apiserver.apply.errors import PatchError
from fairway.engine.apiserver.apply.ordering import arranged, go_text, go_type, identity, key_of
from fairway.engine.apiserver.schema.types import Type, field_of, item_of


def apply(type: Type, document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """`document` with `patch` merged in by the strategies of `type`; neither is changed, unchanged parts are shared.

    Raises PatchError for a patch that is malformed or lacks a merge key.
    """
    if not isinstance(patch, dict):
        raise PatchError("json: cannot unmarshal array into Go value of type map[string]interface {}")
    return _merge_object(type, document, patch)


def _merge_object(type: Type, original: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    if PATCH in patch:
        return _directed(patch)
    merged = dict(original)
    if RETAIN_KEYS in patch:
        _retain(merged, patch)
    done = {_order_list(type, merged, patch, key) for key in patch if key.startswith(ELEMENT_ORDER)}
    for key, value in patch.items():
        if key.startswith(DELETE_PRIMITIVES):
            _delete_primitives(merged, key.removeprefix(DELETE_PRIMITIVES), value)
        elif key not in done and not is_directive(key):
            _merge_member(type, merged, key, value)
    return merged


def _directed(patch: dict[str, Any]) -> dict[str, Any]:
    directive = patch[PATCH]
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != PATCH}
    if directive == "delete":
        return {}
    raise PatchError(f"unknown patch type: {directive!r} in map: {go_text(patch)}")


def _retain(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    """Drop all members that `$retainKeys` does not list; the patch itself may set only listed ones."""
    keys = patch[RETAIN_KEYS]
    if not isinstance(keys, list) or any(
        key not in keys for key, value in patch.items() if value is not None and not is_directive(key)
    ):
        raise PatchError("invalid patch format of retainKeys")
    for key in merged.keys() - set(map(str, keys)):
        del merged[key]


def _merge_member(type: Type, merged: dict[str, Any], key: str, value: Any) -> None:
    current = merged.get(key)
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict) and isinstance(current, dict):
        merged[key] = _merge_object(field_of(type, key), current, value)
    elif isinstance(value, list) and isinstance(current, list):
        merged[key] = _merge_list(field_of(type, key), current, value)
    else:
        merged[key] = plain(value)


def _delete_primitives(merged: dict[str, Any], key: str, values: Any) -> None:
    current = merged.get(key)
    if not isinstance(values, list):
        raise PatchError("invalid patch format of primitive list")
    if isinstance(current, list):
        merged[key] = [item for item in current if item not in values]


def _merge_list(type: Type, original: list[Any], patch: list[Any]) -> list[Any]:
    """Two lists merged by the field's strategy, patch elements in the patch's order and the others where they were."""
    if not type.merge:
        return plain(patch) if any(isinstance(item, dict | list) for item in patch) else patch
    if not original and not patch:
        return original
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        merged = list(dict.fromkeys((*original, *patch)))
        return arranged(merged, patch, original, "")
    if not type.merge_key:
        raise PatchError(f"cannot merge lists without merge key for {item_of(type).name}")
    return _merge_by_key(type, original, patch)


def _merge_by_key(type: Type, original: list[Any], patch: list[Any]) -> list[Any]:
    key = type.merge_key
    kept, wanted, replaced = _special_elements(original, patch, key)
    if replaced:
        return wanted
    merged = list(kept)
    places = {key_of(item, key): index for index, item in enumerate(merged)}
    for item in wanted:
        index = places.get(key_of(item, key))
        if index is None:
            places[key_of(item, key)] = len(merged)
            merged.append(plain(item))
        else:
            merged[index] = _merge_object(item_of(type), merged[index], item)
    return arranged(merged, wanted, kept, key)


def _special_elements(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any], bool]:
    """The list without deleted elements, the patch without directive elements, and whether the patch replaces all."""
    kept, wanted, replaced = original, [], False
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"expected a map[string]interface {{}}, but received a {go_type(item)}")
        directive = item.get(PATCH)
        if directive is None:
            wanted.append(item)
        elif directive == "delete":
            gone = key_of(item, key)
            kept = [known for known in kept if key_of(known, key) != gone]
        elif directive == "replace":
            replaced = True
        elif directive == "merge":
            raise PatchError("merging lists cannot yet be specified in the patch")
        else:
            raise PatchError(f"unknown patch type: {directive!r} in map: {go_text(item)}")
    return kept, wanted, replaced


def _order_list(type: Type, merged: dict[str, Any], patch: dict[str, Any], directive: str) -> str:
    """Merge the list that one `$setElementOrder/…` speaks of and put it in that order; returns the list's key."""
    key, order = directive.removeprefix(ELEMENT_ORDER), patch[directive]
    field = field_of(type, key)
    current, wanted = merged.get(key), patch.get(key)
    for part in (order, current, wanted):
        if part is not None and not isinstance(part, list):
            raise PatchError(f"expected a []interface {{}}, but received a {go_type(part)}")
    if order is None:
        raise PatchError("expected a []interface {}, but received a <nil>")
    if wanted and order:
        _check_order(wanted, order, field.merge_key)
    if current is None and wanted is None:
        return key
    if current is None:
        result = plain(wanted)
    else:
        result = current if wanted is None else _merge_list(field, current, wanted)
    merged[key] = arranged(result, order, current or [], field.merge_key)
    return key


def _check_order(wanted: list[Any], order: list[Any], key: str) -> None:
    """The patch's elements must occur in the order list, in the same order."""
    places = iter(order)
    for item in wanted:
        if isinstance(item, dict) and PATCH in item:
            continue
        name = identity(item, key)
        if not any(identity(place, key) == name for place in places):
            texts = go_text(wanted), go_text(order)
            raise PatchError("The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n".format(*texts))
