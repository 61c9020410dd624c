"""The schema against the registry package that it was compiled from."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.schema import descriptions as texts
from fairway.processes import descriptions

TOOLS = Path(__file__).parent.parent.parent / "tools"
"""Not a package: compiling is a step of whoever moves to a new Kubernetes version."""


@pytest.fixture(scope="module")
def definitions() -> dict[str, Any]:
    return descriptions.definitions(schema.load().version)


@pytest.fixture
def tools() -> Iterator[None]:
    sys.path.insert(0, str(TOOLS))
    yield
    sys.path.remove(str(TOOLS))


def test_the_committed_facts_are_those_of_the_package(definitions: dict[str, Any], tools: None) -> None:
    import compile_schema  # type: ignore[import-not-found]

    kinds, types = compile_schema.facts(definitions)
    committed = msgspec.msgpack.decode((texts.file_path().parent / "types.msgpack").read_bytes())
    assert committed["kinds"] == kinds
    # `always` comes from the types inside a kubectl program, which no registry has
    without = {
        name: {part: value for part, value in compiled.items() if part != "always"}
        for name, compiled in committed["types"].items()
    }
    assert without == types


def test_the_committed_facts_hold_no_sentence() -> None:
    """Names, paths and values only; the words of the API's authors stay outside of the repository."""
    committed = msgspec.msgpack.decode((texts.file_path().parent / "types.msgpack").read_bytes())
    assert [text for text in _texts(committed) if " " in text] == []


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([*value.keys(), *value.values()])
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def test_every_kind_has_descriptions(definitions: dict[str, Any]) -> None:
    """Upstream itself leaves some fields without."""
    known = schema.load()
    found = texts.collect(definitions, set(known.names()))
    for group, version, kind in known:
        definition = known.kind(group, version, kind)
        assert definition is not None
        assert "" in found[definition.name], definition.name
