"""Other people's clients and their test suites, in a folder of their own, against a live server."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import shared
from live_api import Live, live_api

from fairway.processes import descriptions

HERE = Path(__file__).parent
JAVASCRIPT = "@kubernetes/client-node@1.3.0"
# Suites that are in source distributions only.
_SOURCES = ("kubernetes", "kr8s", "kopf")


class Suites(msgspec.Struct, frozen=True):
    """Where the clients and their tests are; outside of the repository, kept from run to run."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "venv/bin/python"

    def source(self, name: str) -> Path:
        """The unpacked source distribution of a package."""
        return next(path for path in self.folder.glob(f"sources/{name}-*") if path.is_dir())

    def package(self, name: str) -> Path:
        """The installed package."""
        return next(self.folder.glob(f"venv/lib/python*/site-packages/{name}"))


def cache_folder() -> Path:
    """Named by what is installed, so that new pins mean a new folder."""
    pins = (HERE / "pins.txt").read_bytes() + JAVASCRIPT.encode() + sys.version.encode()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "fairway-conformance" / hashlib.sha256(pins).hexdigest()[:16]


@pytest.fixture(scope="session")
def suites() -> Suites:
    """Install from the registries whatever is not there yet."""
    folder = cache_folder()
    with shared.alone("suites"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _install(folder)
            (folder / "complete").touch()
    return Suites(folder)


def _install(folder: Path) -> None:
    pins = HERE / "pins.txt"
    _run([sys.executable, "-m", "venv", str(folder / "venv")])
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "install", "-r", str(pins)])
    wanted = [line for line in pins.read_text().splitlines() if line.partition("==")[0] in _SOURCES]
    _run([*pip, "download", "--no-deps", "--no-binary", ":all:", "--dest", str(folder / "sources"), *wanted])
    for archive in (folder / "sources").glob("*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "sources", filter="data")
    _complete_kubernetes(Suites(folder))
    npm = shutil.which("npm")
    assert npm is not None, "npm is installed by `make test`"
    _run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder / "node"), JAVASCRIPT])


def _complete_kubernetes(suites: Suites) -> None:
    """The client's wheel has no tests, and its source distribution lacks one module that they import."""
    package, source = suites.package("kubernetes"), suites.source("kubernetes") / "kubernetes"
    for test in source.glob("dynamic/test_*.py"):
        shutil.copy(test, package / "dynamic")
    (package / "e2e_test").mkdir(exist_ok=True)
    (package / "e2e_test/__init__.py").touch()
    shutil.copy(HERE / "shims/e2e_base.py", package / "e2e_test/base.py")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A fresh server with its controllers, and with the descriptions that `make setup` fetches."""
    with shared.alone("descriptions"):
        assert descriptions.main() == 0
    with live_api(tmp_path_factory.mktemp("live")) as found:
        yield found
