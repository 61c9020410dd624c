"""Parse Dockerfiles: text to instructions, with the line each begins on (docs.docker.com/reference/dockerfile)."""

import re
import shlex
from collections.abc import Iterator, Mapping

import msgspec

_DIRECTIVE = re.compile(r"#\s*(escape|syntax|check)\s*=\s*(\S+)\s*\Z", re.IGNORECASE)
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S*))?\Z")
_VARIABLE = re.compile(r"\\(.)|\$(\w+)|\$\{(\w+)(?:(:[-+])([^}]*))?\}", re.DOTALL)
_HEREDOC = re.compile(r"(?:^|\s)<<-?[\"']?\w+")
_KEYWORDS = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
        *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
    )
)


class DockerfileError(Exception):
    """A Dockerfile that cannot be built here; the message begins with the line and says what to do."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"Dockerfile line {line}: {problem}")
        self.line = line


class Instruction(msgspec.Struct, frozen=True):
    """One instruction, its flags taken off, its arguments as written."""

    line: int
    keyword: str
    arguments: str
    flags: Mapping[str, str] = {}

    def __str__(self) -> str:
        flags = "".join(f" --{name}={value}" for name, value in self.flags.items())
        return f"{self.keyword}{flags} {self.arguments}"


def parse(text: str) -> tuple[Instruction, ...]:
    """All instructions in order. Raises DockerfileError."""
    instructions = tuple(_instruction(line, logical) for line, logical in _logical_lines(text))
    if not instructions:
        raise DockerfileError(1, "the file has no instructions; begin with FROM")
    return instructions


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace $NAME, ${NAME}, ${NAME:-default} and ${NAME:+other}; an unknown name is empty."""

    def value(match: re.Match[str]) -> str:
        escaped, bare, name, operator, word = match.groups()
        if escaped is not None:
            return str(escaped) if escaped == "$" else f"\\{escaped}"
        found = variables.get(bare or name, "")
        if operator == ":-":
            return found or expand(word, variables)
        if operator == ":+":
            return expand(word, variables) if found else ""
        return found

    return _VARIABLE.sub(value, text)


def words(instruction: Instruction, text: str) -> tuple[str, ...]:
    """Words as a shell splits them, or the strings of a JSON array. Raises DockerfileError."""
    if (array := json_form(text)) is not None:
        return array
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise DockerfileError(instruction.line, f"{error}: {text}") from error


def json_form(text: str) -> tuple[str, ...] | None:
    """The strings of the exec form (`["a", "b"]`); None if it is the shell form."""
    if not text.startswith("["):
        return None
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        return None


def command(text: str) -> tuple[str, ...]:
    """ENTRYPOINT and CMD: the exec form as it is, the shell form through /bin/sh."""
    array = json_form(text)
    return array if array is not None else ("/bin/sh", "-c", text)


def pairs(instruction: Instruction, variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """ENV and LABEL: `a=b c="d e"`, or the old `a b`. Raises DockerfileError."""
    first, _, rest = instruction.arguments.partition(" ")
    if "=" not in first:
        if not rest:
            raise DockerfileError(instruction.line, f"{instruction.keyword} needs NAME=VALUE")
        return ((first, expand(rest.strip(), variables)),)
    found = []
    for word in words(instruction, expand(instruction.arguments, variables)):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise DockerfileError(instruction.line, f"{instruction.keyword}: {word!r} is not NAME=VALUE")
        found.append((name, value))
    return tuple(found)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined over their continuations, without comments and blank lines."""
    escape = _escape_character(text)
    joined, begin = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        begin = begin or number
        if line.endswith(escape):
            joined += line[: -len(escape)].rstrip() + " "
            continue
        yield begin, joined + line
        joined, begin = "", 0
    if joined:
        yield begin, joined.strip()


def _escape_character(text: str) -> str:
    for line in text.splitlines():
        directive = _DIRECTIVE.match(line.strip())
        if directive is None:
            break
        if directive[1].lower() == "escape":
            return directive[2]
    return "\\"


def _instruction(line: int, text: str) -> Instruction:
    keyword, _, arguments = text.partition(" ")
    keyword = keyword.upper()
    if keyword not in _KEYWORDS:
        raise DockerfileError(line, f"unknown instruction: {keyword}")
    flags: dict[str, str] = {}
    arguments = arguments.strip()
    while arguments.startswith("--") and keyword in ("FROM", "COPY", "ADD", "RUN", "HEALTHCHECK"):
        word, _, rest = arguments.partition(" ")
        flag = _FLAG.match(word)
        if flag is None:
            raise DockerfileError(line, f"unreadable flag {word!r}")
        flags[flag[1]] = flag[2] if flag[2] is not None else "true"
        arguments = rest.strip()
    if keyword in ("COPY", "ADD") and _HEREDOC.search(arguments):
        raise DockerfileError(line, "here-documents are not supported; put the text into a file and COPY it")
    if not arguments:
        raise DockerfileError(line, f"{keyword} needs arguments")
    return Instruction(line, keyword, arguments, flags)
