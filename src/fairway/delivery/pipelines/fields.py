"""Typed looks at a document's values; a wrong type is a Problem that names file, line and field."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from fairway.delivery.pipelines.document import Document, Path
from fairway.delivery.pipelines.ir import PipelineError, Problem

_UNITS = {"w": 604800, "week": 604800, "d": 86400, "day": 86400, "h": 3600, "hr": 3600, "hour": 3600}
_UNITS |= {"m": 60, "min": 60, "minute": 60, "s": 1, "sec": 1, "second": 1}
_SPAN = re.compile(r"\s*(\d{1,6})\s*([a-z]*?)s?\s*(?:and|,)?(?=\s|\d|\Z)")


class Fields:
    """A mapping inside a document. `path` is where its lines are: for a job made by `extends`, the job itself."""

    def __init__(self, document: Document, values: Mapping[str, Any], path: Path) -> None:
        self.values = values
        self.document = document
        self.path = path

    def refuse(self, message: str, *names: str | int) -> NoReturn:
        """Raise PipelineError about a value in here."""
        path = (*self.path, *names)
        raise PipelineError(Problem(message, ".".join(map(str, path)), self.document.line(path)))

    def text(self, name: str, default: str = "") -> str:
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            self.refuse(f"must be text, not {kind(value)}", name)
        return value

    def flag(self, name: str) -> bool:
        value = self.values.get(name)
        if not isinstance(value, bool | None):
            self.refuse(f"must be true or false, not {kind(value)}", name)
        return bool(value)

    def inner(self, name: str) -> "Fields":
        """A mapping below; an empty one when it is absent."""
        value = self.values.get(name)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            self.refuse(f"must be a mapping, not {kind(value)}", name)
        return Fields(self.document, value, (*self.path, name))

    def mappings(self, name: str) -> "Iterator[Fields]":
        """The mappings of a list below; lists inside lists are laid flat."""
        for number, value in enumerate(self.items(name)):
            for one in value if isinstance(value, list) else (value,):
                if not isinstance(one, dict):
                    self.refuse(f"must be a mapping, not {kind(one)}", name, number)
                yield Fields(self.document, one, (*self.path, name, number))

    def items(self, name: str) -> tuple[Any, ...]:
        """A list below; one value alone is a list of one."""
        value = self.values.get(name)
        if value is None:
            return ()
        return tuple(value) if isinstance(value, list) else (value,)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, or one text; lists inside lists (from anchors) are laid flat."""
        return tuple(self._flat(self.items(name), name))

    def variables(self, name: str) -> dict[str, str]:
        """Names and values; the long form {value, description} gives its value."""
        fields = self.inner(name)
        return {key: fields.variable(key) for key in fields.values}

    def variable(self, name: str) -> str:
        value = self.values[name]
        if isinstance(value, dict):
            value = value.get("value")
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str | None):
            self.refuse(f"must be text, not {kind(value)}", name)
        return value or ""

    def number(self, name: str, most: int) -> int:
        """A whole number from 0 to `most`."""
        value = self.text(name, "0")
        if not value.isdecimal() or int(value) > most:
            self.refuse(f"must be a number from 0 to {most}, not {value!r}", name)
        return int(value)

    def seconds(self, name: str) -> int:
        """A time such as `90 minutes` or `1h 30m`; 0 when it is absent."""
        text = self.text(name).lower()
        position, total = 0, 0
        while text and position < len(text):
            found = _SPAN.match(text, position)
            unit = found[2] or "s" if found else ""
            if found is None or unit not in _UNITS:
                self.refuse(f"{text[:50]!r} is not a time such as 30m or 1h 30m", name)
            total, position = total + int(found[1]) * _UNITS[unit], found.end()
        return total

    def _flat(self, values: tuple[Any, ...] | list[Any], name: str) -> list[str]:
        found: list[str] = []
        for number, value in enumerate(values):
            if isinstance(value, list):
                found += self._flat(value, name)
            elif isinstance(value, str):
                found.append(value)
            else:
                self.refuse(f"must be text, not {kind(value)}", name, number)
        return found


def kind(value: object) -> str:
    """What a value is, in the words of YAML."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return "true or false"
    return "nothing" if value is None else f"{str(value)[:60]!r}"
