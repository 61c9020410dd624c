"""YAML of strangers as plain values with line numbers: nothing is executed, and nothing grows without bounds."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import msgspec
import yaml

from fairway.delivery.pipelines.ir import PipelineError, Problem

BYTES_MAX = 256 * 1024
_VALUES_MAX = 20_000
_DEPTH_MAX = 50
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"

Path: TypeAlias = tuple[str | int, ...]


class Reference(msgspec.Struct, frozen=True):
    """`!reference [job, key]`: what stands there."""

    path: tuple[str, ...]


Value: TypeAlias = "bool | str | Reference | list[Any] | dict[str, Any] | None"
"""Numbers and dates stay text, as they were written."""


class Document(msgspec.Struct, frozen=True):
    """The values, and on which line each was written."""

    root: dict[str, Any]
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of a value, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(data: bytes) -> Document:
    """Parse a file. Raises PipelineError."""
    if len(data) > BYTES_MAX:
        raise _wrong(f"the file has {len(data)} bytes; at most {BYTES_MAX} are read", 0)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _wrong(f"the file is not UTF-8 (byte {error.start})", 0) from None
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        raise _unreadable(error) from None
    if not isinstance(node, yaml.MappingNode):
        raise _wrong("the file must be a mapping of stages and jobs", 1)
    reader = _Reader()
    root = reader.value(node, ())
    assert isinstance(root, dict)
    return Document(root, reader.lines)


def _check_depth(text: str) -> None:
    """Events come one by one: nesting is counted before anything recursive sees it."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH_MAX:
                line = event.start_mark.line + 1 if event.start_mark else 0
                raise _wrong(f"nested deeper than {_DEPTH_MAX} levels", line)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Walks the nodes; aliases are followed, and every value that comes of them counts."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self._left = _VALUES_MAX

    def value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self._left -= 1
        if self._left < 0:
            raise _wrong(f"anchors and aliases make more than {_VALUES_MAX} values of this file", line)
        if len(path) > _DEPTH_MAX:
            raise _wrong(f"nested deeper than {_DEPTH_MAX} levels (an anchor inside itself?)", line)
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
            return Reference(tuple(map(str, items))) if node.tag == "!reference" else items
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == f"{_TAG}merge":
                for source in self._merged(value_node, path):
                    merged = {**source, **merged}
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise _wrong("a key must be plain text", key_node.start_mark.line + 1)
            key = str(key_node.value)
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, (*path, key))
        return {**merged, **found}

    def _merged(self, node: yaml.Node, path: Path) -> Iterator[dict[str, Any]]:
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for one in nodes:
            value = self.value(one, (*path, "<<"))
            if not isinstance(value, dict):
                raise _wrong("`<<` takes a mapping or a list of mappings", node.start_mark.line + 1)
            yield value


def _scalar(node: yaml.Node) -> Any:
    tag = node.tag.removeprefix(_TAG)
    if tag == "null":
        return None
    if tag == "bool":
        return str(node.value).lower() in ("true", "yes", "on")
    return str(node.value)


def _unreadable(error: yaml.YAMLError) -> PipelineError:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or "cannot be read"
    return _wrong(f"this is not YAML: {text}", mark.line + 1 if mark else 0)


def _wrong(message: str, line: int) -> PipelineError:
    return PipelineError(Problem(message, line=line))
