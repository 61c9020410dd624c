"""The `if` of a rule: variables, comparisons and regular expressions in linear time (GitLab's `rules:if`)."""

import re
from collections.abc import Mapping

from fairway.toolkit import expressions

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>\|\||&&|==|!=|=~|!~|\(|\))|\$\{?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}?"""
    r"""|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<null>null)\b|/(?P<regex>(?:[^/\\]|\\.)+)/(?P<flags>[a-z]*))"""
)
_NAME = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_LENGTH_MAX = 4096
_DEPTH_MAX = 20


class BadCondition(ValueError):
    """A condition that cannot be read; the message says where."""


class _Regex(str):
    """A value that was written as /…/."""


_Value = str | None


def holds(text: str, variables: Mapping[str, str]) -> bool:
    """Whether a condition is met. Raises BadCondition."""
    if len(text) > _LENGTH_MAX:
        raise BadCondition(f"a condition has at most {_LENGTH_MAX} characters")
    reader = _Condition(_tokens(text, variables))
    result = reader.either(0)
    if reader.left:
        raise BadCondition(f"{reader.left[0][0]!r} is not expected there")
    return result


def matches(pattern: str, text: str) -> bool:
    """Whether a regular expression is found in a text, in time linear to it. Raises BadCondition."""
    try:
        program = expressions.compile_expression("text.matches(pattern)")
        return bool(program.execute(expressions.context({"text": text, "pattern": pattern}, {})))
    except (ValueError, RuntimeError, TypeError) as error:
        raise BadCondition(f"/{pattern[:100]}/ is not a regular expression that can be used: {error}") from None


def slashed(text: str) -> str | None:
    """`/…/` or `/…/i` as a regular expression; None when the text is none."""
    found = _TOKEN.fullmatch(text)
    return None if found is None or found["regex"] is None else _pattern(found["regex"], found["flags"])


def expand(text: str, variables: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced by what is known; what is not stays as it is."""
    return _NAME.sub(lambda found: variables.get(found[1] or found[2], found[0]), text)


def _pattern(body: str, flags: str) -> str:
    if unknown := set(flags) - {"i"}:
        raise BadCondition(f"the flag {sorted(unknown)[0]!r} of a regular expression is not known; i is")
    return ("(?i)" if "i" in flags else "") + body.replace("\\/", "/")


def _tokens(text: str, variables: Mapping[str, str]) -> list[tuple[str, _Value]]:
    """Pairs of the text and, for values, the value; operators have themselves."""
    found: list[tuple[str, _Value]] = []
    position = 0
    text = text.strip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise BadCondition(f"cannot read {text[position : position + 40]!r}")
        position = token.end()
        found.append((token["op"] or "value", _value(token, variables)))
    return found


def _value(token: re.Match[str], variables: Mapping[str, str]) -> _Value:
    if token["name"]:
        return variables.get(token["name"])
    if token["regex"]:
        return _Regex(_pattern(token["regex"], token["flags"]))
    return token["double"] if token["double"] is not None else token["single"]


class _Condition:
    """Reads tokens from the left: || binds weakest, then &&, then comparisons."""

    def __init__(self, tokens: list[tuple[str, _Value]]) -> None:
        self.left = tokens

    def either(self, depth: int) -> bool:
        result = self.both(depth)
        while self._take("||"):
            result = self.both(depth) or result
        return result

    def both(self, depth: int) -> bool:
        result = self.comparison(depth)
        while self._take("&&"):
            result = self.comparison(depth) and result
        return result

    def comparison(self, depth: int) -> bool:
        if self._take("("):
            if depth >= _DEPTH_MAX:
                raise BadCondition("too many parentheses inside each other")
            result = self.either(depth + 1)
            if not self._take(")"):
                raise BadCondition("a closing parenthesis is missing")
            return result
        value = self._value()
        for operator in ("==", "!=", "=~", "!~"):
            if self._take(operator):
                return _compare(operator, value, self._value())
        return bool(value)

    def _take(self, operator: str) -> bool:
        if self.left and self.left[0][0] == operator:
            self.left.pop(0)
            return True
        return False

    def _value(self) -> _Value:
        if not self.left or self.left[0][0] != "value":
            raise BadCondition('a value such as $CI_COMMIT_BRANCH or "main" is missing')
        return self.left.pop(0)[1]


def _compare(operator: str, one: _Value, other: _Value) -> bool:
    if operator in ("==", "!="):
        return (one == other) == (operator == "==")
    pattern = other if isinstance(other, _Regex) else slashed(other or "")
    if pattern is None:
        raise BadCondition(f"{operator} takes a regular expression such as /^release/")
    return matches(pattern, one or "") == (operator == "=~")
