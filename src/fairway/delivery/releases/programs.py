"""kubectl and helm as renderers of a work tree: without rights, without network, with a limit on time and output."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fairway.delivery.releases.world import Problem
from fairway.toolkit.command import run

_TIMEOUT_SECONDS = 30
_OUTPUT_BYTES_MAX = 8 << 20
_MEMORY_BYTES_MAX = 4 << 30
"""Of addresses, of which programs in Go take much more than memory."""
_WORDS_BYTES_MAX = 4096
NOBODY = 65534
_HELM_PACKAGE = "helm_python"
# A dry run refuses what `helm template` refuses: missing subcharts, another Kubernetes, a broken template. What it
# makes has no hooks, which are refused by name, so the objects come from the rendering.
_RENDER = """
import json, sys
import helm_python
folder, name, namespace, file = sys.argv[1:]
with open(file) as values:
    given = json.load(values)
try:
    with helm_python.Config(namespace=namespace, kubeconfig_content="kind: Config", storage_driver="memory") as config:
        config.install(folder, name, given, dry_run="client")
    made = helm_python.Chart.load(folder).render(given, name=name, namespace=namespace)
except helm_python.HelmError as error:
    sys.exit(str(error))
sys.stdout.write("\\n---\\n".join(made[path] for path in sorted(made) if not path.endswith("NOTES.txt")))
"""


async def kustomize(folder: Path, program: str) -> str | Problem:
    """The YAML that `kubectl kustomize` makes of a folder."""
    found = program or shutil.which("kubectl") or ""
    if found:
        return await _text(folder, (found, "kustomize", str(folder)))
    if alone := shutil.which("kustomize"):
        return await _text(folder, (alone, "build", str(folder)))
    return Problem(
        "spec.deploy.mode kustomize needs kubectl or kustomize on the machine that runs Fairway; install one"
    )


async def helm(folder: Path, program: str, name: str, namespace: str, values: Path) -> str | Problem:
    """The YAML that `helm template` makes of a chart, with the program or with the package `helm-python-sdk`."""
    found = program or shutil.which("helm") or ""
    if found:
        return await _text(
            folder, (found, "template", name, str(folder), "--namespace", namespace, "--values", str(values))
        )
    if has_helm_package():
        # As the same user, for whom alone the package may be readable, but with none of his rights.
        command = (sys.executable, "-c", _RENDER, str(folder), name, namespace, str(values))
        return await _text(folder, command, as_nobody=False)
    return Problem(
        "spec.deploy.mode helm needs helm, or the Python package helm-python-sdk, on the machine that runs Fairway;"
        " install one: pip install helm-python-sdk"
    )


def has_helm_package() -> bool:
    """Whether the package is there; it is never loaded here: it brings Go's own threads and 95 MB."""
    return any((Path(folder) / _HELM_PACKAGE).is_dir() for folder in sys.path)


async def _text(folder: Path, arguments: Sequence[str], *, as_nobody: bool = True) -> str | Problem:
    tool = Path(arguments[0]).name
    limits = ("prlimit", f"--fsize={_OUTPUT_BYTES_MAX + 1}", f"--as={_MEMORY_BYTES_MAX}", "--cpu=60", "--core=0")
    command = (
        *_without_rights(as_nobody),
        *limits,
        "env",
        "-i",
        f"PATH={os.environ.get('PATH', '')}",
        "HOME=/nonexistent",
    )
    with tempfile.TemporaryFile() as made, tempfile.TemporaryFile() as said:
        try:
            done = await run((*command, *arguments), cwd=folder, files=(made, said), timeout_seconds=_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return Problem(f"{tool} took longer than {_TIMEOUT_SECONDS} s")
        if made.seek(0, os.SEEK_END) > _OUTPUT_BYTES_MAX:
            return Problem(f"{tool} makes more than {_OUTPUT_BYTES_MAX} bytes")
        if done.returncode != 0:
            said.seek(max(0, said.seek(0, os.SEEK_END) - _WORDS_BYTES_MAX))
            words = " ".join(said.read().decode("utf-8", "replace").split())
            return Problem(f"{tool} refuses: {words[-600:]}")
        made.seek(0)
        return made.read().decode("utf-8", "replace")


def _without_rights(as_nobody: bool) -> tuple[str, ...]:
    """In a network of its own, which has nothing in it, and without capabilities, when we may do that."""
    if os.geteuid() != 0:
        return ()
    user = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups") if as_nobody else ()
    return ("unshare", "--net", "--", "setpriv", *user, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")
