"""What one run of the tests makes once and all of its processes use."""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = "FAIRWAY_TEST_SHARED"


def begin() -> Callable[[], None]:
    """Make the run's folder, unless the process that started this one has; what takes it away again."""
    if FOLDER in os.environ:
        return lambda: None
    made = tempfile.mkdtemp(prefix="fairway-tests-")
    os.environ[FOLDER] = made

    def end() -> None:
        del os.environ[FOLDER]
        shutil.rmtree(made, ignore_errors=True)

    return end


def worker() -> int:
    """The number of this process among those that share the run's files of tests, from 0."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


@contextmanager
def alone(name: str) -> Iterator[Path]:
    """The run's folder of that name, with no other process of the run at it meanwhile."""
    folder = Path(os.environ[FOLDER]) / name
    folder.mkdir(exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def bases(state_dir: Path, *names: str) -> None:
    """Put base images into a cluster's store, as `fairway image build --base` does, which each run does once."""
    (state_dir / "images").mkdir(parents=True, exist_ok=True)
    for name in names:
        with alone(f"base-{name}") as folder:
            if not (folder / "complete").exists():
                command = [sys.executable, "-m", "fairway.processes.main", "image", "build", "--base", name]
                command += ["--state-dir", str(folder)]
                done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
                assert done.returncode == 0, f"image build --base {name}: {done.stdout}{done.stderr}"
                (folder / "complete").touch()
        # beside names nothing is there twice, since everything is called by its digest
        subprocess.run(["cp", "-a", f"{folder}/images/.", str(state_dir / "images")], check=True)
