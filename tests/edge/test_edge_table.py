"""The table of annotations: complete, in order, typed, and what the documentation says."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from fairway.edge.translate.annotations import read
from fairway.edge.translate.settings import Settings
from fairway.edge.translate.table import ALIASES, DEPRECATED, NGINX, OWN, PREFIX, TABLE, How

ROOT = Path(__file__).parents[2]


def test_all_136_are_there_once_and_in_order() -> None:
    names = [one.name for one in NGINX]
    assert len(names) == 136 and names == sorted(set(names))
    assert len(TABLE) == len(NGINX) + len(ALIASES) + len(OWN)
    assert not set(DEPRECATED) & {*names, *ALIASES}


def test_what_works_has_a_setting_and_what_does_not_says_why() -> None:
    for one in (*NGINX, *OWN):
        works = one.how in (How.NATIVE, How.LUA)
        assert works <= hasattr(Settings(), one.field), one.name
        assert works or one.note, one.name


@pytest.mark.parametrize("name", sorted(TABLE))
def test_nonsense_is_a_message_and_never_a_crash(name: str) -> None:
    for text in ("", "\0", '"; http-request allow', "x" * 100_000, "\ud800", "%[src]"):
        reading = read({name: text})
        messages = [str(error) for error in reading.refused] + [message for _, message in reading.warnings]
        assert all(name in message and len(message) < 700 for message in messages)


@pytest.mark.parametrize(
    ("name", "text", "reason", "words"),
    [
        ("enable-modsecurity", "true", "UnsupportedAnnotation", "Coraza"),
        ("enable-modsecurity", "false", "", ""),
        ("stream-snippet", "x", "UnsupportedAnnotation", "tcp-services"),
        ("limit-rate-after", "9", "UnsupportedAnnotation", "use limit-rate"),
        ("proxy-next-upstream", "error non_idempotent", "PartialAnnotation", "never are"),
        ("proxy-next-upstream", "error http_502", "", ""),
        ("backend-protocol", "AUTO_HTTP", "", ""),
        ("secure-backends", "true", "UnsupportedAnnotation", "use backend-protocol"),
        ("proxy-buffering", "maybe", "InvalidAnnotation", "no effect anyway"),
        ("no-such-thing", "x", "UnsupportedAnnotation", "not known"),
    ],
)
def test_what_is_said(name: str, text: str, reason: str, words: str) -> None:
    warnings = read({PREFIX + name: text}).warnings
    assert [found for found, _ in warnings] == ([reason] if reason else [])
    assert all(words in message for _, message in warnings)


def test_the_documentation_is_current() -> None:
    spec = importlib.util.spec_from_file_location("annotations_doc", ROOT / "tools" / "annotations_doc.py")
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == module.PAGE.read_text(encoding="utf-8"), "run python tools/annotations_doc.py"
