"""pytest as root of a user namespace of an ordinary user: the tests of the node then run without any real privilege.

rootless_pytest.py subordinate|single ARGUMENT…        the map of ids, and what pytest is given; needs root to begin
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import ordinary_user
import shared

from fairway.processes import rootless
from fairway.toolkit import linux

PROJECT = Path(__file__).parents[2]
MAPS = ("subordinate", "single")


def run(
    ids: str, arguments: tuple[str, ...], runtime: str = "", *, captured: bool = True
) -> "subprocess.CompletedProcess[str]":
    """Run pytest with a map of ids; `runtime` is the path of crun or runc, our own code without it."""
    folder = Path(tempfile.mkdtemp(prefix="fairway-rootless-"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    outer = {key: value for key, value in os.environ.items() if key != shared.FOLDER}  # which is root's
    environment = {**outer, "FAIRWAY_TEST_RUNTIME": runtime, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*ordinary_user.prefix(home, subordinate=ids == "subordinate"), sys.executable, __file__, "--inside"]
    command += ["--basetemp", str(home / "tmp"), *(["-m", "not users"] if ids == "single" else []), *arguments]
    try:
        output = subprocess.PIPE if captured else None
        return subprocess.run(command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, check=False)
    finally:
        shutil.rmtree(folder)


def _inside(arguments: list[str]) -> int:
    """Become root of a user namespace, then pytest."""
    pid = rootless.fork(linux.CLONE_NEWNS)
    if pid == 0:
        os.chdir(PROJECT)
        os.execv(sys.executable, [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments])
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        sys.exit(_inside(sys.argv[2:]))
    by = os.environ.get("FAIRWAY_TEST_RUNTIME", "")
    sys.exit(run(sys.argv[1], tuple(sys.argv[2:]), by, captured=False).returncode)
