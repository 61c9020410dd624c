"""`fairway trust` with the real update-ca-certificates, in folders of its own."""

import argparse
import ssl
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fairway.certificates import authority
from fairway.processes import trust_command
from fairway.processes.trust_command import Store
from fairway.toolkit import signing


@pytest.fixture
def store(tmp_path: Path) -> Store:
    for name in ("local", "etc", "hooks"):
        (tmp_path / name).mkdir()
    folders = ("--localcertsdir", str(tmp_path / "local"), "--etccertsdir", str(tmp_path / "etc"))
    return Store(tmp_path / "local", ("update-ca-certificates", *folders, "--hooksdir", str(tmp_path / "hooks")))


def arguments(state_dir: Path, **more: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"state_dir": state_dir, "print": False, "remove": False, "kubeconfig": None, **more})


def roots(tmp_path: Path) -> set[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bundle = tmp_path / "etc" / "ca-certificates.crt"
    context.load_verify_locations(bundle)
    subjects: list[Any] = [root["subject"] for root in context.get_ca_certs()]
    return {value for subject in subjects for ((name, value),) in subject if name == "commonName"}


def test_install_and_remove(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    assert trust_command.run(arguments(state), (store,)) == 0
    assert f"undo with: fairway trust --remove --state-dir {state}" in capsys.readouterr().out
    assert authority.COMMON_NAME in roots(tmp_path)
    assert trust_command.run(arguments(state), (store,)) == 0, "again changes nothing"
    assert len([*store.folder.iterdir()]) == 1
    assert stat.S_IMODE(next(store.folder.iterdir()).stat().st_mode) == 0o644
    assert trust_command.run(arguments(state, remove=True), (store,)) == 0
    assert authority.COMMON_NAME not in roots(tmp_path)
    assert trust_command.run(arguments(state, remove=True), (store,)) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_print_gives_the_root_alone(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust_command.run(arguments(tmp_path / "state", print=True), (store,)) == 0
    assert capsys.readouterr().out == authority.paths(tmp_path / "state" / "pki").certificate.read_text()
    assert not [*store.folder.iterdir()]


def test_failures_say_what_to_do(tmp_path: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust_command.run(arguments(tmp_path / "state"), (Store(store.folder, ("no-such-program",)),)) == 1
    assert trust_command.run(arguments(tmp_path / "state"), (Store(store.folder, ("false",)),)) == 1
    (tmp_path / "file").touch()
    assert trust_command.run(arguments(tmp_path / "file"), (store,)) == 1
    assert trust_command.run(arguments(tmp_path, kubeconfig=tmp_path / "none"), (store,)) == 1
    seen = capsys.readouterr()
    text = seen.out + seen.err
    assert "--print" in text and "`false` failed" in text and str(tmp_path / "none") in text


def test_a_folder_of_roots_is_read_by_openssl(tmp_path: Path, store: Store) -> None:
    assert trust_command.run(arguments(tmp_path / "state"), (store,)) == 0
    file = authority.paths(tmp_path / "state" / "pki").certificate
    hashed = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", str(file)], capture_output=True, text=True)
    assert signing.openssl_name(file.read_bytes()) == f"{hashed.stdout.strip()}.0"
