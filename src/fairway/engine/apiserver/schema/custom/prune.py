"""Drop what a structural schema does not know (KEP "CRD pruning"), and say what that was."""

from typing import Any

from fairway.engine.apiserver.schema.custom.node import META_FIELDS, Node


def prune(node: Node, value: Any) -> list[str]:
    """Remove, in place, every field of an object that has no schema; returns their paths, such as `spec.a[0].b`."""
    unknown: list[str] = []
    _prune(node, value, "", True, unknown)
    return unknown


def _prune(node: Node | None, value: Any, path: str, resource: bool, unknown: list[str]) -> None:
    if isinstance(value, dict):
        _members(node, value, path, resource, unknown)
    elif isinstance(value, list):
        items = node.items if node is not None else None
        if items is None and node is not None and node.preserve:
            return
        for index, item in enumerate(value):
            _prune(items, item, f"{path}[{index}]", items is not None and items.embedded, unknown)


def _members(node: Node | None, value: dict[str, Any], path: str, resource: bool, unknown: list[str]) -> None:
    for key in list(value):
        if resource and key in META_FIELDS:
            continue
        inner = f"{path}.{key}" if path else key
        field = node.fields.get(key) if node is not None else None
        if field is not None:
            _prune(field, value[key], inner, field.embedded, unknown)
        elif node is not None and node.extra:
            _prune_extra(node, value[key], inner, unknown)
        elif node is None or not node.preserve:
            del value[key]
            unknown.append(inner)


def _prune_extra(node: Node, value: Any, path: str, unknown: list[str]) -> None:
    if node.values is not None or not node.preserve:
        _prune(node.values, value, path, node.values is not None and node.values.embedded, unknown)
