"""Words as Dockerfiles write them: quotes, escapes and variables (docs.docker.com/reference/dockerfile, BuildKit)."""

import fnmatch
import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]+")
_OPERATORS = (":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/")


class BadWord(ValueError):
    """Text that is no word: a quote without its end, a variable that breaks off, a variable that must be set."""


def split(text: str, escape: str = "\\") -> tuple[str, ...]:
    """The words of a text as they are written, quotes and all. Raises BadWord."""
    found: list[str] = []
    word, position = "", 0
    while position < len(text):
        char = text[position]
        if char in " \t\n\r":
            if word:
                found.append(word)
            word, position = "", position + 1
        elif char in "\"'":
            end = _closing(text, position, escape)
            word, position = word + text[position : end + 1], end + 1
        elif char == escape and position + 1 < len(text):
            word, position = word + text[position : position + 2], position + 2
        elif text.startswith("${", position):
            end = _brace(text, position, escape)
            word, position = word + text[position : end + 1], end + 1
        else:
            word, position = word + char, position + 1
    return (*found, word) if word else tuple(found)


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """A text without its quotes and escapes, its variables replaced; an unknown one is empty. Raises BadWord."""
    found, position = [], 0
    while position < len(text):
        char = text[position]
        if char == "'":
            end = _closing(text, position, escape)
            found.append(text[position + 1 : end])
            position = end + 1
        elif char == '"':
            end = _closing(text, position, escape)
            found.append(_quoted(text[position + 1 : end], variables, escape))
            position = end + 1
        elif char == escape and position + 1 < len(text):
            found.append(text[position + 1])
            position += 2
        elif char == "$":
            value, position = _variable(text, position, variables, escape)
            found.append(value)
        else:
            found.append(char)
            position += 1
    return "".join(found)


def expand_only(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Variables replaced and nothing else touched, as in here-documents. Raises BadWord."""
    found, position = [], 0
    while position < len(text):
        char = text[position]
        if char == escape and text[position + 1 : position + 2] in ("$", escape):
            found.append(text[position + 1])
            position += 2
        elif char == "$":
            value, position = _variable(text, position, variables, escape)
            found.append(value)
        else:
            found.append(char)
            position += 1
    return "".join(found)


def _quoted(text: str, variables: Mapping[str, str], escape: str) -> str:
    """Between double quotes: only `"`, `$` and the escape itself can be escaped."""
    found, position = [], 0
    while position < len(text):
        char = text[position]
        if char == escape and position + 1 < len(text):
            after = text[position + 1]
            found.append(after if after in ('"', "$", escape) else char + after)
            position += 2
        elif char == "$":
            value, position = _variable(text, position, variables, escape)
            found.append(value)
        else:
            found.append(char)
            position += 1
    return "".join(found)


def _variable(text: str, position: int, variables: Mapping[str, str], escape: str) -> tuple[str, int]:
    """The value of what begins with `$`, and where it ends."""
    if text.startswith("${", position):
        end = _brace(text, position, escape)
        return _braced(text[position + 2 : end], variables, escape), end + 1
    name = _NAME.match(text, position + 1)
    if name is None:
        return "$", position + 1
    return variables.get(name[0], ""), name.end()


def _braced(inner: str, variables: Mapping[str, str], escape: str) -> str:
    name = _NAME.match(inner)
    if name is None:
        raise BadWord(f"${{{inner}}} names no variable")
    rest, value = inner[name.end() :], variables.get(name[0])
    if not rest:
        return value or ""
    operator = next((one for one in _OPERATORS if rest.startswith(one)), None)
    if operator is None:
        raise BadWord(f"${{{inner}}}: {rest[0]!r} is no modifier; use :- :+ :? - + ? # % or /")
    word = rest[len(operator) :]
    if operator[-1] in "-+?":
        is_set = bool(value) if operator.startswith(":") else value is not None
        return _defaulted(name[0], operator[-1], value, is_set, expand(word, variables, escape))
    if operator[0] == "/":
        pattern, _, other = word.partition("/")
        return _replaced(value or "", operator, expand(pattern, variables), expand(other, variables))
    return _trimmed(value or "", operator, expand(word, variables))


def _defaulted(name: str, operator: str, value: str | None, is_set: bool, word: str) -> str:
    if operator == "-":
        return value or "" if is_set else word
    if operator == "+":
        return word if is_set else ""
    if not is_set:
        raise BadWord(f"{name}: {word or 'is not set'}")
    return value or ""


def _trimmed(value: str, operator: str, pattern: str) -> str:
    """`#` and `%`: the shortest piece at the beginning or the end goes, doubled the longest."""
    lengths = range(len(value) + 1)
    for length in lengths if len(operator) == 1 else reversed(lengths):
        piece = value[:length] if operator[0] == "#" else value[len(value) - length :]
        if fnmatch.fnmatchcase(piece, pattern):
            return value[length:] if operator[0] == "#" else value[: len(value) - length]
    return value


def _replaced(value: str, operator: str, pattern: str, other: str) -> str:
    shape = re.compile("".join(".*" if char == "*" else "." if char == "?" else re.escape(char) for char in pattern))
    return shape.sub(lambda match: other, value, count=0 if operator == "//" else 1) if pattern else value


def _closing(text: str, position: int, escape: str) -> int:
    """Where a quote ends. Raises BadWord."""
    quote, at = text[position], position + 1
    while at < len(text):
        if text[at] == escape and quote == '"':
            at += 2
            continue
        if text[at] == quote:
            return at
        at += 1
    raise BadWord(f"No closing quotation: {text[position : position + 40]}")


def _brace(text: str, position: int, escape: str) -> int:
    """Where `${…}` ends. Raises BadWord."""
    depth, at = 0, position
    while at < len(text):
        if text[at] == escape:
            at += 2
            continue
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
            continue
        if text[at] == "}":
            depth -= 1
            if not depth:
                return at
        at += 1
    raise BadWord(f"{text[position : position + 40]!r} has no closing brace")
