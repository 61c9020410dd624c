"""Fill in the defaults of a structural schema, and drop nulls that it does not allow."""

import copy
from typing import Any

from fairway.engine.apiserver.schema.custom.node import UNSET, Node


def fill(node: Node, value: Any, *, root: bool = True) -> None:
    """In place; a null that is not allowed becomes the default, or goes away where there is none."""
    if isinstance(value, dict):
        _members(node, value, root)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            fill(node.items, item, root=False)


def _members(node: Node, value: dict[str, Any], root: bool) -> None:
    for key, field in node.fields.items():
        if root and key in ("metadata", "apiVersion", "kind"):
            continue
        if key in value and not (value[key] is None and not field.nullable):
            continue
        if field.default is not UNSET:
            value[key] = copy.deepcopy(field.default)
        else:
            value.pop(key, None)
    for key, item in list(value.items()):
        inner = node.member(key)
        if inner is None or (root and key == "metadata"):
            continue
        if item is None and not inner.nullable and key not in node.fields:
            _replace(value, key, inner)
        elif item is not None:
            fill(inner, item, root=False)


def _replace(value: dict[str, Any], key: str, node: Node) -> None:
    if node.default is not UNSET:
        value[key] = copy.deepcopy(node.default)
    else:
        del value[key]
