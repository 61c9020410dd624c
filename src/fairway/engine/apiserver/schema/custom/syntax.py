"""The tree of a CEL expression: what the library that evaluates them keeps to itself, and estimates of cost need."""

from typing import Final

from msgspec import Struct

from fairway.engine.apiserver.schema.custom.rewriting import Token, tokens

_BINARY: Final = (("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_DEEPEST: Final = 50


class Expression(Struct, frozen=True):
    """`kind` is literal, name, select, index, call, method, list, map or choice.

    Operators are calls of their sign; the first part of a method is what it is called on.
    """

    kind: str
    text: str = ""
    parts: tuple["Expression", ...] = ()


def parse(source: str) -> Expression:
    """Raises ValueError when it is not CEL, or nested too deeply to be looked at."""
    reader = _Reader(tokens(source))
    found = reader.expression()
    if reader.peek():
        raise ValueError(f"unexpected {reader.peek()!r}")
    return found


class _Reader:
    def __init__(self, parts: list[Token]) -> None:
        self._tokens = parts
        self._at = 0
        self._depth = 0

    def peek(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def expression(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError("nested too deeply")
        found = self._binary(0)
        if self._taken("?"):
            first = self.expression()
            self._expect(":")
            found = Expression("choice", "", (found, first, self.expression()))
        self._depth -= 1
        return found

    def _binary(self, level: int) -> Expression:
        if level == len(_BINARY):
            return self._unary()
        found = self._binary(level + 1)
        while self.peek() in _BINARY[level]:
            sign = self._next().text
            found = Expression("call", sign, (found, self._binary(level + 1)))
        return found

    def _unary(self) -> Expression:
        signs = []
        while self.peek() in ("!", "-"):
            signs.append(self._next().text)
        found = self._members(self._primary())
        for sign in reversed(signs):
            found = Expression("call", sign, (found,))
        return found

    def _members(self, found: Expression) -> Expression:
        while True:
            if self.peek() in (".", ".?"):
                self._next()
                name = self._next()
                if name.kind != "name":
                    raise ValueError(f"unexpected {name.text!r}")
                if self._taken("("):
                    found = Expression("method", name.text, (found, *self._list(")")))
                else:
                    found = Expression("select", name.text, (found,))
            elif self.peek() in ("[", "[?"):
                self._next()
                found = Expression("index", "", (found, self.expression()))
                self._expect("]")
            else:
                return found

    def _primary(self) -> Expression:
        token = self._next()
        if token.kind in ("text", "number") or token.text in ("true", "false", "null"):
            return Expression("literal", token.text)
        if token.kind == "name":
            return (
                Expression("call", token.text, self._list(")")) if self._taken("(") else Expression("name", token.text)
            )
        if token.text == "(":
            found = self.expression()
            self._expect(")")
            return found
        if token.text == "[":
            return Expression("list", "", self._list("]"))
        if token.text == "{":
            return Expression("map", "", self._list("}", ":"))
        raise ValueError(f"unexpected {token.text!r}")

    def _list(self, end: str, inner: str = "") -> tuple[Expression, ...]:
        found: list[Expression] = []
        while not self._taken(end):
            found.append(self.expression())
            if not (self._taken(",") or (inner and self._taken(inner))) and self.peek() != end:
                raise ValueError(f"unexpected {self.peek()!r}")
        return tuple(found)

    def _next(self) -> Token:
        if self._at == len(self._tokens):
            raise ValueError("unexpected end")
        self._at += 1
        return self._tokens[self._at - 1]

    def _taken(self, text: str) -> bool:
        if self.peek() != text:
            return False
        self._at += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._taken(text):
            raise ValueError(f"expected {text!r}, not {self.peek()!r}")
