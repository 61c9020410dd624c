"""Control groups of version 2 on the kernel's own file system, with the controllers that are there or without any."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from fairway.engine.kubelet.runtime.cgroups import CONTROLLERS, Group, Layout, Limits, enter
from fairway.toolkit import linux

pytestmark = pytest.mark.real


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "cgroup2"
    folder.mkdir()
    linux.mount("none", str(folder), "cgroup2")
    yield folder
    linux.umount(str(folder))


def test_a_group_is_made_entered_killed_and_removed(root: Path) -> None:
    layout = Layout(str(root))
    assert layout.unified
    there = (root / "cgroup.controllers").read_text().split()
    assert layout.enforced == tuple(name for name in CONTROLLERS if name in there)
    layout.enforced = layout.enforced or CONTROLLERS  # where version 1 has them all, only the limits cannot be set
    name = f"fairway-test-{os.getpid()}"
    group = Group(layout, f"{name}/pod/container")
    group.create(Limits(64 << 20, 50_000, 102, 20), Limits(128 << 20, None, 204, 40))
    folder = root / name / "pod" / "container"
    if "pids" in there:
        assert (folder / "pids.max").read_text() == "20\n"
        assert (folder.parent / "pids.max").read_text() == "40\n"
    entrances = group.entrances()
    script = "import sys; sys.stdout.write('in\\n'); sys.stdout.flush(); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: enter(entrances),
        pass_fds=entrances,
    )
    for fd in entrances:
        os.close(fd)
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"in\n"
        assert (folder / "cgroup.procs").read_text().split() == [str(process.pid)]
        assert Path(f"/proc/{process.pid}/cgroup").read_text().splitlines()[-1] == f"0::/{name}/pod/container"
        assert group.oom_kills() == 0
        group.remove()
        assert folder.exists()  # somebody is in it
        os.kill(process.pid, 9)
        process.wait()
    group.kill()
    group.remove()
    assert not (root / name).exists()


def test_a_group_is_made_while_the_last_one_beside_it_is_taken_away(tmp_path: Path) -> None:
    """Init containers follow one another: the pod's group is empty for a moment, and goes with the one that ended."""
    layout = Layout(str(tmp_path))
    ended = Group(layout, "pod/ended")
    ended.folders = (str(tmp_path / "pod" / "ended"),)
    group = Group(layout, "pod/next")
    group.folders = (str(tmp_path / "pod" / "next"),)
    child = os.fork()
    if child == 0:
        try:
            while True:
                ended.create(Limits(None, None, None, None))
                ended.remove()
        finally:
            os._exit(1)
    try:
        for _ in range(1000):
            group.create(Limits(None, None, None, None))
            group.remove()
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it did not fail either"
    finally:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, 9)
            os.waitpid(child, 0)


def test_groups_of_a_container_go_with_it(root: Path) -> None:
    layout = Layout(str(root))
    layout.enforced = layout.enforced or CONTROLLERS
    name = f"fairway-test-{os.getpid()}"
    group = Group(layout, f"{name}/pod/container")
    group.create(Limits(None, None, None, None))
    (root / name / "pod" / "container" / "made" / "inside").mkdir(parents=True)
    group.remove()
    assert not (root / name).exists()


def test_a_pod_that_comes_while_another_goes(root: Path) -> None:
    """Both use the group of their quality of service, which goes with its last pod."""
    layout = Layout(str(root))
    layout.enforced = layout.enforced or CONTROLLERS
    name = f"fairway-test-{os.getpid()}"
    missing: list[str] = []

    def come_and_go(pod: str) -> None:
        for _ in range(40):
            group = Group(layout, f"{name}/besteffort/{pod}/container")
            group.create(Limits(None, None, 2, None))
            missing.extend(folder for folder in group.folders if not os.path.exists(folder))
            group.remove()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(come_and_go, pod) for pod in ("a", "b")]:
            done.result()
    assert not missing
    assert not (root / name).exists()
