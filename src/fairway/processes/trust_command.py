"""`fairway trust`: let this machine accept the sites' certificates; `--remove` takes that back, `--print` shows it."""

import argparse
import asyncio
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from fairway.certificates import authority
from fairway.certificates.config import NAMESPACE
from fairway.cli import terminal
from fairway.kube.client import kubeconfig
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.toolkit import files, signing


class Store(msgspec.Struct, frozen=True):
    """A system's trust store: where own roots go, and what takes them in and out."""

    folder: Path
    command: tuple[str, ...]


STORES = (
    Store(Path("/usr/local/share/ca-certificates"), ("update-ca-certificates",)),
    Store(Path("/etc/pki/ca-trust/source/anchors"), ("update-ca-trust", "extract")),
)


class CannotTrust(Exception):
    """It did not work; the message says why and what to do."""


def run(arguments: argparse.Namespace, stores: tuple[Store, ...] = STORES) -> int:
    """Returns the exit code."""
    try:
        root = _root(arguments)
        if arguments.print:
            sys.stdout.write(root.decode())
        elif arguments.remove:
            _remove(root, _store(stores), _undo(arguments))
        else:
            _install(root, _store(stores), _undo(arguments))
    except CannotTrust as error:
        terminal.fail(f"fairway trust: {error}")
        return 1
    return 0


def _root(arguments: argparse.Namespace) -> bytes:
    """The root's certificate; one that does not exist yet is made, so that trust may come before the first start."""
    if arguments.kubeconfig is not None:
        return _root_of_cluster(arguments.kubeconfig)
    try:
        return authority.from_files(arguments.state_dir / "pki", datetime.now(UTC)).certificate
    except OSError as error:
        raise CannotTrust(f"{error.filename}: {error.strerror}; run it as the user who runs `fairway up`") from error


def _root_of_cluster(file: Path) -> bytes:
    async def read() -> bytes:
        client = kubeconfig.connect(kubeconfig.load(file))
        return (await authority.from_cluster(client, NAMESPACE, datetime.now(UTC))).certificate

    try:
        return asyncio.run(read())
    except kubeconfig.KubeconfigError as error:
        raise CannotTrust(str(error)) from error
    except (ApiError, Unreachable) as error:
        raise CannotTrust(f"{file}: {error}") from error


def _store(stores: tuple[Store, ...]) -> Store:
    for store in stores:
        if shutil.which(store.command[0]):
            return store
    raise CannotTrust(
        "this system's trust store is not known; `fairway trust --print` gives the root to install by hand"
    )


def _install(root: bytes, store: Store, undo: str) -> None:
    file = _file(root, store)
    try:
        store.folder.mkdir(parents=True, exist_ok=True)
        files.replace(file, root)
    except PermissionError:
        raise CannotTrust(f"{file} can only be written by root: run it with sudo") from None
    except OSError as error:
        raise CannotTrust(f"{file}: {error.strerror}") from error
    _update(store)
    terminal.ok(f"the root of the sites is in {file}, and `{' '.join(store.command)}` took it in")
    print(f"    curl, git, Python and most programs of this machine now accept the sites; undo with: {undo}")
    print("    Firefox and Chromium keep their own stores: import that file there, as an authority for websites, or by")
    print(
        f'    certutil -d sql:"$HOME/.pki/nssdb" -A -t C,, -n "{_nickname(root)}" -i {file}   # Chromium; libnss3-tools'
    )


def _remove(root: bytes, store: Store, undo: str) -> None:
    file = _file(root, store)
    try:
        file.unlink()
    except FileNotFoundError:
        terminal.ok(f"{file} was not there: nothing to do")
        return
    except PermissionError:
        raise CannotTrust(f"{file} can only be removed by root: run it with sudo: {undo}") from None
    _update(store)
    terminal.ok(f"{file} is removed, and `{' '.join(store.command)}` took the root out")
    print(f'    where Chromium was told: certutil -d sql:"$HOME/.pki/nssdb" -D -n "{_nickname(root)}"')


def _nickname(root: bytes) -> str:
    """What a browser's store calls it; every root has its own there too."""
    return f"fairway {signing.fingerprint(root)[:12]}"


def _file(root: bytes, store: Store) -> Path:
    """Every root has its own file: machines may trust several clusters."""
    return store.folder / f"fairway-{signing.fingerprint(root)[:12]}.crt"


def _update(store: Store) -> None:
    done = subprocess.run(store.command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotTrust(f"`{' '.join(store.command)}` failed: {done.stderr.strip() or done.returncode}")


def _undo(arguments: argparse.Namespace) -> str:
    which = (
        f"--state-dir {arguments.state_dir}" if arguments.kubeconfig is None else f"--kubeconfig {arguments.kubeconfig}"
    )
    return f"fairway trust --remove {which}"
