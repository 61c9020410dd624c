"""Users against an image's own files."""

from pathlib import Path

import pytest

from fairway.engine.kubelet.images import UnknownUser, User, resolve_user
from fairway.engine.kubelet.images.user import is_numeric

PASSWD = """root:x:0:0:root:/root:/bin/sh
web:x:33:44:web:/var/www:/bin/false
broken line
odd:x:abc:1::/:
7:x:1007:1007::/seven:
"""
GROUP = "root:x:0:\nweb:x:44:\nssl:x:50:web,other\nlogs:x:51:web\n"


@pytest.fixture
def layers(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text(GROUP)
    return (str(tmp_path),)


@pytest.mark.parametrize(
    ("text", "user"),
    [
        ("", User(0, 0, (), "/root")),
        ("root", User(0, 0, (), "/root")),
        ("web", User(33, 44, (50, 51), "/var/www")),
        ("33", User(33, 44, (50, 51), "/var/www")),
        ("web:ssl", User(33, 50, (), "/var/www")),
        ("web:999", User(33, 999, (), "/var/www")),
        ("4711", User(4711, 0, (), "/")),
        ("4711:4712", User(4711, 4712, (), "/")),
        (":ssl", User(0, 50, (), "/root")),
        ("7", User(1007, 1007, (), "/seven")),
    ],
)
def test_users(layers: tuple[str, ...], text: str, user: User) -> None:
    assert resolve_user(text, layers) == user


@pytest.mark.parametrize("text", ["ghost", "odd", "web:ghosts", "-1", "99999999999", "1e3"])
def test_unknown_users(layers: tuple[str, ...], text: str) -> None:
    with pytest.raises(UnknownUser, match="unable to find"):
        resolve_user(text, layers)


def test_an_image_without_files_knows_numbers(tmp_path: Path) -> None:
    assert resolve_user("", (str(tmp_path),)) == User(0, 0, (), "/root")
    assert resolve_user("5:6", (str(tmp_path),)) == User(5, 6)
    with pytest.raises(UnknownUser):
        resolve_user("web", (str(tmp_path),))


def test_a_passwd_that_links_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").symlink_to("/../../../etc/passwd")
    with pytest.raises((UnknownUser, OSError)):
        resolve_user("daemon", (str(tmp_path),))


def test_numeric() -> None:
    assert [is_numeric(user) for user in ("1000", "1000:5", "web", "web:5", "")] == [True, True, False, False, False]
