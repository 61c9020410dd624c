"""The JSONPath of printer columns: what is at `.spec.replicas` or `.status.conditions[?(@.type=="Ready")].status`."""

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

Step = Callable[[Any], Iterable[Any]]

_STEP: Final = re.compile(
    r"""\.\.(?P<deep>[^.\[]+)
    |\.(?P<any>\*)
    |\.(?P<name>(?:\\.|[^.\[\\])+)
    |\[\s*'(?P<quoted>(?:\\.|[^'])*)'\s*\]
    |\[\s*"(?P<double>(?:\\.|[^"])*)"\s*\]
    |\[\s*\?\(\s*@(?P<path>[^=!<>\s)]*)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*)?\)\s*\]
    |\[\s*(?P<index>-?\d+)\s*\]
    |\[\s*(?P<slice>-?\d*:-?\d*)\s*\]
    |\[\s*(?P<all>\*)\s*\]""",
    re.X,
)


def find(path: str, value: Any) -> list[Any]:
    """Everything at a path, in order.  Raises ValueError when it is not a path."""
    found = [value]
    for step in parse(path):
        found = [inner for item in found for inner in step(item)]
    return found


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[Step, ...]:
    """Raises ValueError."""
    text = path.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$")
    steps: list[Step] = []
    place = 0
    while place < len(text) and text != ".":
        match = _STEP.match(text, place)
        if match is None:
            raise ValueError(f"unrecognized character in action: {path!r}")
        steps.append(_step(match))
        place = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    groups = match.groupdict()
    for key in ("name", "quoted", "double"):
        if groups[key] is not None:
            return _member(re.sub(r"\\(.)", r"\1", groups[key]))
    if groups["index"] is not None:
        return _element(int(groups["index"]))
    if groups["slice"] is not None:
        start, _, end = groups["slice"].partition(":")
        return _part(int(start) if start else None, int(end) if end else None)
    if groups["path"] is not None:
        return _filter(groups["path"], groups["operator"] or "", _literal(groups["value"] or ""))
    if groups["deep"] is not None:
        return lambda value: _deep(groups["deep"], value)
    return _children


def _member(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else []


def _element(index: int) -> Step:
    return lambda value: [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []


def _part(start: int | None, end: int | None) -> Step:
    return lambda value: value[start:end] if isinstance(value, list) else []


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _deep(name: str, value: Any) -> list[Any]:
    found = [value[name]] if isinstance(value, dict) and name in value else []
    return found + [item for inner in _children(value) for item in _deep(name, inner)]


def _literal(text: str) -> Any:
    if text[:1] in ("'", '"'):
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _filter(path: str, operator: str, wanted: Any) -> Step:
    steps = parse(path) if path else ()

    def holds(item: Any) -> bool:
        found = [item]
        for step in steps:
            found = [inner for one in found for inner in step(one)]
        if not operator:
            return bool(found)
        return bool(found) and _compare(found[0], operator, wanted)

    return lambda value: [item for item in _children(value) if holds(item)]


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    if operator in ("==", "!="):
        return bool(value == wanted) is (operator == "==")
    try:
        order = (value > wanted) - (value < wanted)
    except TypeError:
        return False
    return bool({"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator])


def text(value: Any) -> str:
    """A list or map as one cell."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
