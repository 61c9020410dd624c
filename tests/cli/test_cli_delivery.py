"""The commands about apps as somebody types them for the first time: what is wrong is named before anything happens."""

import argparse
import os
import shutil
import sys
from pathlib import Path

import pytest

from fairway.cli import terminal
from fairway.cli.delivery import create
from fairway.cli.delivery.arguments import add_parser, app_name, host_name
from fairway.cli.delivery.cluster import Mistake
from fairway.toolkit.oci.bases import how_to_have
from fairway.toolkit.oci.reference import parse


def said(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What argparse says about a command line that it refuses, in one line."""
    parser = argparse.ArgumentParser(prog="fairway")
    add_parser(parser.add_subparsers(), Path("/nonexistent"))
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words.split(" "))
    assert ended.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("app create Bad_Name", "'Bad_Name' is no name of an App: it begins with a letter"),
        ("app create 1st", "'1st' is no name of an App"),
        (f"app create {'a' * 41}", "at most 40 characters"),
        ("deploy --app a/b", "'a/b' is no name of an App"),
        ("app create shop --domain shop.test:80/x", "write it without port and path, like site.example.com"),
        ("deploy --domain a..b", "'a..b' is no host name"),
        ("scale shop -1", "APP N"),
        ("scale shop many", "argument N: 'many' is no number from 0 on"),
        ("logs shop --tail -5", "argument --tail: '-5' is no number from 0 on"),
        ("pipelines shop again", "invalid choice: 'again'"),
        ("app create shop --strategy magic", "invalid choice: 'magic'"),
    ],
)
def test_a_wrong_argument_is_named(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in said(words, capsys)


def test_names_and_hosts_are_taken_as_people_paste_them() -> None:
    assert [app_name(text) for text in ("", "a", "shop-2")] == ["", "a", "shop-2"]
    assert host_name("https://Site.Corp.com/") == "site.corp.com" and host_name("*.corp.com.") == "*.corp.com"
    assert host_name("bücher.example") == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--strategy image", "name it with --image"),
        ("--build-command make", "name it with --image"),
        ("--repo https://forge.test/a/b --remote", "give one of the two"),
        ("--remote", "is no git repository: git init"),
    ],
)
async def test_what_does_not_fit_together_makes_no_app(
    words: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers(), Path("/nonexistent"))
    arguments = parser.parse_args(["app", "create", "shop", *words.split(" ")])
    with pytest.raises(Mistake, match=told):
        await create.create(NOBODY, arguments)


class _Nobody:
    """A cluster that must not be asked; it only knows the namespace."""

    namespace = "default"


NOBODY = _Nobody()  # type: ignore[var-annotated]  # a stranger to Cluster on purpose: any use of it fails the test


def test_a_table_gives_way_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("shop-1", "x" * 40, "push by somebody-with-a-name", "3m")]
    headers = ("RUN", "MESSAGE", "WHY", "AGE")
    assert "x" * 40 in terminal.table(headers, rows, shorten=("MESSAGE", "WHY")), "nobody looks: nothing is cut"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((60, 24)))
    lines = terminal.table(headers, rows, shorten=("MESSAGE", "WHY")).splitlines()
    assert max(map(len, lines)) <= 60 and "…" in lines[1] and lines[1].endswith("3m")
    bold = terminal.table(headers, [("shop-1", f"\x1b[1m{'x' * 60}\x1b[0m", "", "3m")], shorten=("MESSAGE",))
    assert "xx…\x1b[0m   " in bold, "the colour ends with its text"
    assert max(map(terminal.width, bold.splitlines())) <= 60
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((24, 24)))
    left = terminal.table(headers, rows, shorten=("MESSAGE", "WHY"), spare=("WHY", "MESSAGE")).splitlines()
    assert left == ["RUN      AGE", "shop-1   3m"], "neither would say anything: both are left out"


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("golang:1.19", "fairway image build --base go makes it here"),
        ("golang:1.22", "fairway image build --base go makes golang:1.19; another one comes with fairway image import"),
        ("node:20-slim", "fairway image build --base node makes node:18-slim"),
        ("corp.example/tool", ""),
    ],
)
def test_how_an_image_comes_here(image: str, told: str) -> None:
    assert how_to_have(parse(image)).startswith(told) and bool(told) == bool(how_to_have(parse(image)))
