"""Parse Dockerfiles: text to instructions, with the line each begins on (docs.docker.com/reference/dockerfile)."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from fairway.toolkit.oci import shell_words
from fairway.toolkit.oci.shell_words import BadWord

BYTES_MAX = 1 << 20
INSTRUCTIONS_MAX = 2000
_DIRECTIVE = re.compile(r"#\s*(escape|syntax|check)\s*=\s*(.+?)\s*\Z", re.IGNORECASE)
_FLAG = re.compile(r"--([a-z]+(?:[.-][a-z]+)*)(?:=(.*))?\Z", re.DOTALL)
_HEREDOC = re.compile(r"(\d*)<<(-?)([\"']?)([A-Za-z_][\w.-]*)\3\Z")
_KEYWORDS = frozenset(
    (
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER"),
        *("ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
    )
)
_FLAGGED = frozenset(("FROM", "COPY", "ADD", "RUN", "HEALTHCHECK"))
_HEREDOCS = frozenset(("ADD", "COPY", "RUN"))
_SHOWN_LENGTH_MAX = 200


class DockerfileError(Exception):
    """A Dockerfile that cannot be built here; the message begins with file and line and says what to do."""

    def __init__(self, line: int, problem: str, file: str = "Dockerfile") -> None:
        super().__init__(f"{file} line {line}: {problem}")
        self.line = line
        self.problem = problem


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document: its name, its text, and whether variables in it are replaced (its name is not quoted)."""

    name: str
    text: str
    expands: bool = True


class Instruction(msgspec.Struct, frozen=True):
    """One instruction, its flags taken off, its arguments as written. A flag may be given more than once."""

    line: int
    keyword: str
    arguments: str
    flags: Mapping[str, tuple[str, ...]] = {}
    heredocs: tuple[Heredoc, ...] = ()
    escape: str = "\\"

    def __str__(self) -> str:
        flags = "".join(f" --{name}={value}" for name, values in self.flags.items() for value in values)
        text = " ".join(f"{self.keyword}{flags} {self.arguments}".split())
        return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]} …"

    def flag(self, name: str) -> str:
        """The last value of a flag; "" when it is not given."""
        return self.flags.get(name, ("",))[-1]


def parse(text: str) -> tuple[Instruction, ...]:
    """All instructions in order. Raises DockerfileError."""
    if len(text) > BYTES_MAX:
        raise DockerfileError(1, f"the file has more than {BYTES_MAX} characters; put long texts into files and COPY")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    instructions: list[Instruction] = []
    for one in _Reader(lines).instructions():
        if len(instructions) == INSTRUCTIONS_MAX:
            raise DockerfileError(one.line, f"the file has more than {INSTRUCTIONS_MAX} instructions; join some")
        instructions.append(one)
    if not instructions:
        raise DockerfileError(1, "the file has no instructions; begin with FROM")
    return tuple(instructions)


class _Reader:
    """Walks over the lines; a here-document takes those that follow its instruction."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0
        self._escape = self._directives()
        self._continues = re.compile(re.escape(self._escape) + r"[ \t]*\Z")

    def instructions(self) -> Iterator[Instruction]:
        while (found := self._logical_line()) is not None:
            line, text = found
            yield self._instruction(line, text)

    def _directives(self) -> str:
        """Parser directives stand before everything else; only `escape` matters here."""
        for number, line in enumerate(self._lines, start=1):
            directive = _DIRECTIVE.match(line.strip())
            if directive is None:
                break
            if directive[1].lower() == "escape":
                if directive[2] not in ("\\", "`"):
                    raise DockerfileError(number, f"escape={directive[2]} must be \\ or `")
                return directive[2]
        return "\\"

    def _logical_line(self) -> tuple[int, str] | None:
        """The next line with its continuations, without comments and blank lines; None at the end."""
        pieces: list[str] = []
        begin = 0
        while self._at < len(self._lines):
            raw = self._lines[self._at]
            self._at += 1
            if not raw.strip() or raw.lstrip().startswith("#"):
                continue
            begin = begin or self._at
            line = raw if pieces else raw.lstrip()
            continued = self._continues.search(line)
            pieces.append(line[: continued.start()] if continued else line)
            if not continued:
                break
        return (begin, "".join(pieces).strip()) if pieces else None

    def _instruction(self, line: int, text: str) -> Instruction:
        keyword, *rest = text.split(None, 1)
        keyword, arguments = keyword.upper(), rest[0] if rest else ""
        if keyword not in _KEYWORDS:
            raise DockerfileError(line, f"unknown instruction: {keyword[:40]}")
        flags, arguments = _flags(line, arguments) if keyword in _FLAGGED else ({}, arguments)
        heredocs = self._heredocs(line, arguments) if keyword in _HEREDOCS else ()
        if not arguments:
            raise DockerfileError(line, f"{keyword} needs arguments")
        return Instruction(line, keyword, arguments, flags, heredocs, self._escape)

    def _heredocs(self, line: int, arguments: str) -> tuple[Heredoc, ...]:
        """Those that the words of an instruction begin, with the lines up to their ends."""
        if "<<" not in arguments or json_form(arguments) is not None:
            return ()
        try:
            marks = [match for word in shell_words.split(arguments, self._escape) if (match := _HEREDOC.match(word))]
        except BadWord:
            return ()  # a shell may read it otherwise
        return tuple(self._heredoc(line, mark[4], bool(mark[2]), not mark[3]) for mark in marks)

    def _heredoc(self, line: int, name: str, strips_tabs: bool, expands: bool) -> Heredoc:
        found: list[str] = []
        while self._at < len(self._lines):
            text = self._lines[self._at]
            self._at += 1
            text = text.lstrip("\t") if strips_tabs else text
            if text == name:
                return Heredoc(name, "".join(f"{one}\n" for one in found), expands)
            found.append(text)
        raise DockerfileError(line, f"the here-document {name} has no end; write a line with {name} alone")


def _flags(line: int, arguments: str) -> tuple[dict[str, tuple[str, ...]], str]:
    flags: dict[str, tuple[str, ...]] = {}
    while arguments.startswith("--"):
        word, *rest = arguments.split(None, 1)
        flag = _FLAG.match(word)
        if flag is None:
            raise DockerfileError(line, f"unreadable flag {word[:80]!r}")
        flags[flag[1]] = (*flags.get(flag[1], ()), flag[2] if flag[2] is not None else "true")
        arguments = rest[0] if rest else ""
    return flags, arguments


def expand(instruction: Instruction, text: str, variables: Mapping[str, str]) -> str:
    """A text of an instruction, variables replaced and quotes taken off. Raises DockerfileError."""
    try:
        return shell_words.expand(text, variables, instruction.escape)
    except BadWord as error:
        raise DockerfileError(instruction.line, str(error)) from error


def words(instruction: Instruction, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The arguments as words, or the strings of a JSON array, variables replaced. Raises DockerfileError."""
    array = json_form(instruction.arguments)
    raw = array if array is not None else _split(instruction)
    return tuple(expand(instruction, word, variables) for word in raw)


def json_form(text: str) -> tuple[str, ...] | None:
    """The strings of the exec form (`["a", "b"]`); None if it is the shell form."""
    if not text.startswith("["):
        return None
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.DecodeError:
        return None


def command(text: str, shell: tuple[str, ...]) -> tuple[str, ...]:
    """ENTRYPOINT and CMD: the exec form as it is, the shell form through the shell."""
    array = json_form(text)
    return array if array is not None else (*shell, text)


def pairs(instruction: Instruction, variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """ENV and LABEL: `a=b c="d e"`, or the old `a b`. Raises DockerfileError."""
    raw = _split(instruction)
    if "=" not in raw[0]:
        name, *rest = instruction.arguments.split(None, 1)
        if not rest:
            raise DockerfileError(instruction.line, f"{instruction.keyword} needs NAME=VALUE")
        return ((expand(instruction, name, variables), expand(instruction, rest[0].strip(), variables)),)
    found = []
    for word in raw:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise DockerfileError(instruction.line, f"{instruction.keyword}: {word[:80]!r} is not NAME=VALUE")
        found.append((expand(instruction, name, variables), expand(instruction, value, variables)))
    return tuple(found)


def arguments(instruction: Instruction) -> tuple[tuple[str, str | None], ...]:
    """ARG: the names and their defaults as written; None where there is none. Raises DockerfileError."""
    found = []
    for word in _split(instruction):
        name, equals, default = word.partition("=")
        if not name.isidentifier():
            raise DockerfileError(instruction.line, f"ARG: {name[:80]!r} is no name of a variable")
        found.append((name, default if equals else None))
    return tuple(found)


def _split(instruction: Instruction) -> tuple[str, ...]:
    try:
        return shell_words.split(instruction.arguments, instruction.escape)
    except BadWord as error:
        raise DockerfileError(instruction.line, str(error)) from error
