"""CEL as Kubernetes writes it, turned into what the library understands.

The library has no optional field syntax (`a.?b`, `a[?0]`), no functions in namespaces (`sets.contains(a, b)`), no
`cel.bind`, and counts bytes where CEL counts characters. Each is a rewriting of tokens into calls of functions that
`functions.py` adds; field values stay as they are.
"""

import re
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
    |(?P<text>[rRbB]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))
    |(?P<number>0x[0-9a-fA-F]+u?|\d+\.\d+(?:[eE][+-]?\d+)?|\.\d+|\d+[uU]?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>\.\?|\[\?|&&|\|\||==|!=|<=|>=|.)""",
    re.X | re.S,
)
NAMESPACES: Final = (
    "sets",
    "math",
    "strings",
    "base64",
    "format",
    "ip",
    "cidr",
    "lists",
    "regex",
    "semver",
    "optional",
)
_RENAMED: Final = {"size": "__size", "string": "__string", "indexOf": "__indexOf", "lastIndexOf": "__lastIndexOf"}
MACROS: Final = ("all", "exists", "exists_one", "existsOne", "map", "filter", "optMap", "optFlatMap", "bind")
_CLOSING: Final = {"optMap": ").__first()", "optFlatMap": ").__flat()"}
_NATIVE: Final = frozenset({"optional"})


class Token(NamedTuple):
    """`kind` is text, number, name or mark."""

    kind: str
    text: str


class Shape(NamedTuple):
    """What an expression is made of, without compiling it."""

    bound: frozenset[str]
    """Names that macros bring in."""
    depth: int
    """How deeply loops are nested."""


def tokens(source: str) -> list[Token]:
    """Everything but space and comments."""
    found = (Token(match.lastgroup or "", match[0]) for match in _TOKEN.finditer(source))
    return [token for token in found if token.kind != "space"]


def uses(source: str, name: str) -> bool:
    """Whether an expression mentions a name."""
    return any(token.kind == "name" and token.text == name for token in tokens(source))


def rewrite(source: str) -> str:
    """The expression for the library."""
    return " ".join(_rewritten(tokens(source)))


def shape(source: str) -> Shape:
    """Names bound by macros, and the depth of nested loops."""
    parts = tokens(source)
    bound: set[str] = set()
    loops: list[bool] = []
    deepest = 0
    for index, token in enumerate(parts):
        if token.text in ("(", "[", "[?", "{"):
            macro = (
                token.text == "(" and index >= 2 and parts[index - 1].text in MACROS and parts[index - 2].text == "."
            )
            loops.append(macro)
            deepest = max(deepest, sum(loops))
            if macro and index + 1 < len(parts) and parts[index + 1].kind == "name":
                bound.add(parts[index + 1].text)
        elif token.text in (")", "]", "}") and loops:
            loops.pop()
    return Shape(frozenset(bound), deepest)


def _rewritten(parts: list[Token]) -> list[str]:
    out: list[str] = []
    closing: list[str] = []
    chain = False  # behind an optional selection, where further selections are optional, too
    index = 0
    while index < len(parts):
        token, after = parts[index], parts[index + 1].text if index + 1 < len(parts) else ""
        text = token.text
        if text == ".?" and index + 1 < len(parts):
            out.append(f'.__select("{after}")')
            chain, index = True, index + 2
            continue
        if text == "." and chain and (parts[index + 2].text if index + 2 < len(parts) else "") != "(":
            out.append(f'.__select("{after}")')
            index += 2
            continue
        if text == "[?" or (text == "[" and chain):
            out.append(".__index(")
            closing.append("?")
        elif text == "cel" and [part.text for part in parts[index : index + 4]] == ["cel", ".", "bind", "("]:
            bound, index = _bind(parts, index + 4)
            out += bound
            chain = False
            continue
        elif token.kind == "name":
            piece, used = _name(parts, index)
            out.append(piece)
            index += used
        elif text in ("(", "[", "{"):
            macro = _CLOSING.get(parts[index - 1].text, "") if index else ""
            closing.append(macro if text == "(" else "")
            if macro:
                out[-1] = "__list().map"
            out.append(text)
        elif text in (")", "]", "}"):
            ends = closing.pop() if closing else ""
            out.append(")" if ends == "?" else ends or text)
            chain = ends == "?"
            index += 1
            continue
        else:
            out.append(text)
        chain = chain and text in (".", "[?", "[")
        index += 1
    return out


def _name(parts: list[Token], index: int) -> tuple[str, int]:
    """A name, and how many further tokens it took."""
    text = parts[index].text
    before = parts[index - 1].text if index else ""
    following = [part.text for part in parts[index + 1 : index + 4]]
    spaced = before != "." and text in NAMESPACES and text not in _NATIVE
    if spaced and len(following) == 3 and following[0] == "." and following[2] == "(":
        return f"__{text}_{following[1]}", 2
    if following[:1] == ["("] and text in _RENAMED:
        return _RENAMED[text], 0
    return text, 0


def _bind(parts: list[Token], index: int) -> tuple[list[str], int]:
    """`cel.bind(x, value, result)` as a loop over one value."""
    arguments: list[list[Token]] = [[]]
    depth = 0
    while index < len(parts):
        text = parts[index].text
        if text == ")" and not depth:
            break
        depth += (text in ("(", "[", "[?", "{")) - (text in (")", "]", "}"))
        if text == "," and not depth:
            arguments.append([])
        else:
            arguments[-1].append(parts[index])
        index += 1
    if len(arguments) != 3:
        return ["cel.bind(", *(part.text for argument in arguments for part in argument), ")"], index + 1
    name, value, result = (_rewritten(argument) for argument in arguments)
    return ["[", *value, "].map(", *name, ",", *result, ")[0]"], index + 1
