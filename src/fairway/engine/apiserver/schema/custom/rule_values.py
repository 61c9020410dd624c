"""Values as rules see them: in the types of CEL, under names that CEL can write."""

import datetime
import re
from typing import Any, Final

from fairway.engine.apiserver.schema.custom.node import META_FIELDS, Node

_KEYWORDS: Final = frozenset(
    (
        *("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"),
        *("let", "loop", "package", "namespace", "return", "var", "void", "while"),
    )
)


def typed(node: Node | None, value: Any, *, root: bool = False) -> Any:
    """`value` in CEL's types: times, durations and bytes by format, numbers as doubles, member names escaped."""
    if isinstance(value, dict):
        return _typed_members(node, value, root)
    if isinstance(value, list):
        return [typed(node.items if node is not None else None, item) for item in value]
    if node is None:
        return value
    if node.type == "number" and value.__class__ is int:
        return float(value)
    if node.type == "integer" and value.__class__ is float:
        return int(value)
    if value.__class__ is str and node.format and node.type == "string":
        return _typed_text(node.format, value)
    return value


def _typed_members(node: Node | None, value: dict[str, Any], root: bool) -> dict[str, Any]:
    resource = root or (node is not None and node.embedded)
    result: dict[str, Any] = {}
    for key, item in value.items():
        inner = node.member(key) if node is not None else None
        if resource and key in META_FIELDS:
            result[key] = (
                {name: item[name] for name in ("name", "generateName") if name in item} if key == "metadata" else item
            )
        elif inner is not None or node is None or not root:
            result[escaped(key) if node is not None and key in node.fields else key] = typed(inner, item)
    return result


def _typed_text(format: str, value: str) -> Any:
    try:
        if format in ("date-time", "datetime"):
            return datetime.datetime.fromisoformat(value)
        if format == "date":
            return datetime.datetime.fromisoformat(value).replace(tzinfo=datetime.UTC)
        if format == "duration":
            return duration(value)
    except ValueError:
        return value
    return value.encode() if format == "byte" else value


_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration(text: str) -> datetime.timedelta:
    """A Go duration such as `1h30m`.  Raises ValueError."""
    parts = re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h|d|w)", text)
    if not parts and text != "0":
        raise ValueError(f"not a duration: {text}")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return datetime.timedelta(seconds=-seconds if text.startswith("-") else seconds)


def escaped(name: str) -> str:
    """A field's name as rules write it."""
    if name in _KEYWORDS:
        return f"__{name}__"
    name = name.replace("__", "__underscores__")
    return name.replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")


def widest(value: Any) -> int:
    """The number of items in the largest list, map or text of a value."""
    if isinstance(value, dict):
        return max(len(value), *(widest(item) for item in value.values()), 1)
    if isinstance(value, list):
        return max(len(value), *(widest(item) for item in value), 1)
    return 1
