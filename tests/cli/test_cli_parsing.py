"""Options may stand anywhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.cli.parsing import Parser


@pytest.mark.parametrize(
    "words",
    ["rollback shop v3 -e staging", "rollback shop -e staging v3", "rollback -e staging shop v3"],
)
def test_an_option_between_arguments_changes_nothing(words: str) -> None:
    parser = Parser()
    rollback = parser.add_subparsers().add_parser("rollback")
    rollback.add_argument("app")
    rollback.add_argument("to", nargs="?", default="")
    rollback.add_argument("-e")
    found = parser.parse_args(words.split())
    assert (found.app, found.to, found.e) == ("shop", "v3", "staging")


def test_an_option_between_any_number_of_arguments_changes_nothing() -> None:
    parser = Parser()
    env = parser.add_subparsers().add_parser("env")
    env.add_argument("app")
    env.add_argument("set", nargs="*", default=[])
    env.add_argument("--secret", action="store_true")
    assert vars(parser.parse_args(["env", "shop", "--secret", "A", "B"])) == {
        "app": "shop",
        "set": ["A", "B"],
        "secret": True,
    }
    assert parser.parse_args(["env", "shop"]).set == []


@pytest.mark.parametrize("command", ["app --help", "image ls --state-dir", "edge explain a.test -f"])
def test_a_closed_pipe_ends_a_command_quietly(command: str, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    (tmp_path / "none.yaml").touch()
    more = {"explain": [str(tmp_path / "none.yaml")], "ls": [str(tmp_path)]}.get(command.split()[1], [])
    asked = [sys.executable, "-m", "fairway.processes.main", *command.split(), *more]
    done = subprocess.run(asked, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")
