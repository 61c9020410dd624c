"""The Common Expression Language: the compiled library `common-expression-language`, without its command line.

Importing the package itself would load its terminal program as well (120 ms, 30 MB); its compiled core alone takes
14 ms and 5 MB, and is loaded when the first expression is compiled.
"""

import importlib.machinery
import importlib.util
import logging
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol


class Program(Protocol):
    """A compiled expression."""

    def execute(self, context: Any) -> Any: ...
    def variables(self) -> list[str]: ...
    def functions(self) -> list[str]: ...


class Optional(Protocol):
    """A CEL optional value."""

    def has_value(self) -> bool: ...
    def value(self) -> Any: ...


@cache
def _library() -> Any:
    package = importlib.util.find_spec("cel")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the package common-expression-language is not installed")
    folder = Path(package.submodule_search_locations[0])
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = folder / f"cel{suffix}"
        if path.exists():
            return _extension(path)
    raise ModuleNotFoundError(f"{folder} holds no compiled library for this Python")


def _extension(path: Path) -> Any:
    loader = importlib.machinery.ExtensionFileLoader("cel", str(path))
    spec = importlib.util.spec_from_file_location("cel", path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    logging.getLogger("cel").disabled = True  # it logs every error of an expression besides raising it
    return module


def compile_expression(source: str) -> Program:
    """Raises ValueError with the place of a syntax error."""
    program: Program = _library().compile(source)
    return program


def context(variables: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]]) -> Any:
    """What an expression is evaluated in."""
    return _library().Context(dict(variables), dict(functions))


def some(value: Any) -> Optional:
    """An optional with a value."""
    made: Optional = _library().OptionalValue.of(value)
    return made


def nothing() -> Optional:
    """An optional without a value."""
    made: Optional = _library().OptionalValue.none()
    return made


def is_optional(value: Any) -> bool:
    return isinstance(value, _library().OptionalValue)


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Callable[[str], bool]:
    """A search for a regular expression in time linear in the text, whatever the pattern.  Raises ValueError."""
    program = compile_expression("text.matches(pattern)")
    try:
        program.execute({"text": "", "pattern": pattern})
    except RuntimeError as error:
        raise ValueError(_fault(str(error))) from None
    return lambda text: bool(program.execute({"text": text, "pattern": pattern}))


def _fault(message: str) -> str:
    """The reason alone, on one line."""
    _, _, reason = message.partition("error: ")
    return (reason or message).partition(". Check function")[0].strip()
