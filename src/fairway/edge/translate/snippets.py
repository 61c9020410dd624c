"""The part of nginx' language that is safe to obey, read strictly: what is not understood refuses the whole snippet.

Known are proxy_set_header, add_header, more_set_headers, more_clear_headers, proxy_hide_header, return, rewrite, set
and `if` with one comparison around them. No text of a snippet is passed on as it stands.
"""

import re
from collections.abc import Iterator

from fairway.edge.policy import Directive, Test, Text, Variable
from fairway.edge.translate import checks, variables
from fairway.edge.translate.checks import Refused, short

_CHARACTERS_MAX = 16 * 1024
_DIRECTIVES_MAX = 64
_TOKEN = re.compile(
    r"""\s+ | \#[^\n]* | (?P<mark>[;{}]) | "(?P<double>[^"\\\n]*)" | '(?P<single>[^'\\\n]*)'
      | (?P<condition>\((?:[^(){}"';\n]|"[^"\n]*"|'[^'\n]*'|\([^(){}"';\n]*\))*\))(?=\s*\{)
      | (?P<word>(?:\$\{\w+\}|[^\s;{}"'\#])+)""",
    re.VERBOSE,
)
_CONDITION = re.compile(
    r"""\(\s*\$(\w+)\s*(?:(=|!=|!?~\*?)\s*(?:"([^"]*)"|'([^']*)'|(\S+?)))?\s*\)""",
    re.ASCII,
)
_REDIRECTS = (301, 302, 303, 307, 308)
Token = tuple[str, str]


def parse(text: str) -> tuple[Directive, ...]:
    """The directives of a snippet in order. Raises Refused with the first line that is not understood."""
    if len(text) > _CHARACTERS_MAX:
        raise Refused(f"{len(text)} characters are more than {_CHARACTERS_MAX}")
    found = tuple(_Reader(list(_tokens(text))).block(()))
    if len(found) > _DIRECTIVES_MAX:
        raise Refused(f"{len(found)} directives are more than {_DIRECTIVES_MAX}")
    return found


def request_headers(text: str) -> tuple[tuple[str, Text], ...]:
    """The snippet of an authentication request: proxy_set_header only."""
    found = parse(text)
    for one in found:
        if one.verb != "request-header" or one.when:
            raise Refused("only proxy_set_header is supported here")
    return tuple((one.name, one.text) for one in found)


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise Refused(f"the text at {short(text[position : position + 40])} is not understood")
        position = match.end()
        for kind, value in match.groupdict().items():
            if value is not None:
                yield ("mark" if kind == "mark" else "condition" if kind == "condition" else "word"), value


class _Reader:
    """Reads a list of tokens from the front."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._own: set[str] = set()

    def block(self, when: tuple[Test, ...]) -> Iterator[Directive]:
        while self._tokens:
            if self._tokens[0] == ("mark", "}") and when:
                self._tokens.pop(0)
                return
            if self._tokens[0] == ("word", "if"):
                if when:
                    raise Refused("an `if` inside an `if` is not supported")
                yield from self.block((self._condition(),))
            else:
                yield self._directive(self._words(), when)
        if when:
            raise Refused("an `if` has no closing brace")

    def _condition(self) -> Test:
        self._tokens.pop(0)
        kind, text = self._tokens.pop(0) if self._tokens else ("", "")
        match = _CONDITION.fullmatch(text) if kind == "condition" else None
        if match is None:
            raise Refused(f"the condition {short(text)} is not a variable, or a variable compared with plain text")
        self._tokens.pop(0)  # the brace that the token pattern has seen
        (variable,) = variables.parse(f"${match[1]}", self._own)
        value = next((group for group in match.groups()[2:] if group is not None), "")
        operator = match[2] or "set"
        if "~" in operator:
            checks.expression(value)
        else:
            checks.header_value(value)
        assert isinstance(variable, Variable)
        return Test(variable, value, operator)

    def _words(self) -> list[str]:
        words: list[str] = []
        while self._tokens:
            kind, text = self._tokens.pop(0)
            if (kind, text) == ("mark", ";"):
                return words
            if kind == "mark":
                break
            words.append(text)
        raise Refused(f"directive {short(' '.join(words))} does not end with a semicolon, or is a block")

    def _directive(self, words: list[str], when: tuple[Test, ...]) -> Directive:
        match words:
            case ["proxy_set_header", name, value]:
                return Directive("request-header", _name(name), self._text(value), when=when)
            case ["add_header", name, value]:
                return Directive("add-header", _name(name), self._text(value), when=when)
            case ["add_header", name, value, "always"]:
                return Directive("add-header", _name(name), self._text(value), flag="always", when=when)
            case ["more_set_headers", line] if ":" in line:
                name, _, value = line.partition(":")
                return Directive("response-header", _name(name.strip()), self._text(value.strip()), when=when)
            case ["more_clear_headers", name]:
                return Directive("clear-header", _name(name), when=when)
            case ["proxy_hide_header", name]:
                return Directive("hide-header", _name(name), when=when)
            case ["set", name, value] if re.fullmatch(r"\$[a-z_][a-z0-9_]{0,40}", name):
                text = self._text(value)
                self._own.add(name[1:])
                return Directive("set", name[1:], text, when=when)
            case ["return", code, *rest] if len(rest) <= 1:
                return self._return(code, rest, when)
            case ["rewrite", pattern, target, *rest] if len(rest) <= 1:
                return self._rewrite(pattern, target, (rest or ["break"])[0], when)
        raise Refused(f"directive {short(' '.join(words))} is not supported")

    def _text(self, value: str) -> Text:
        return variables.parse(value, self._own)

    def _return(self, code: str, rest: list[str], when: tuple[Test, ...]) -> Directive:
        if code.startswith("http") and not rest:
            return Directive("return", text=variables.url(code), code=302, when=when)
        number = checks.number(code, 200, 599)
        if number in _REDIRECTS:
            if not rest:
                raise Refused(f"return {code} names no address")
            return Directive("return", text=variables.reference(rest[0]), code=number, when=when)
        return Directive("return", text=self._text(rest[0]) if rest else (), code=number, when=when)

    @staticmethod
    def _rewrite(pattern: str, target: str, flag: str, when: tuple[Test, ...]) -> Directive:
        checks.expression(pattern)
        return Directive(
            "rewrite",
            name=pattern,
            text=(checks.target(target),),
            flag=checks.one_of(flag, "break", "last", "permanent", "redirect"),
            when=when,
        )


def _name(text: str) -> str:
    """A header name; those that decide where a message ends are nobody's to set."""
    name = checks.token(text)
    if name.lower() in ("content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer"):
        if name.lower() in ("upgrade", "connection"):
            return name  # as in every recipe for WebSocket; the renderer leaves them out
        raise Refused(f"header {name} belongs to the proxy")
    return name
