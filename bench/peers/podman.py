"""Podman beside us: the same base image, containers one after another by its command line, what an idle one costs.

Installed from the distribution if it is not there. crun refuses machines on which cgroups of both versions are mounted:
podman then sees a mount namespace in which the second version is not. It has a network namespace of its own, too, as it
would leave a bridge, firewall tables and forwarding on the host.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

_IMAGE = "localhost/fairway-bench:1"
_ALONE = (
    "umount /sys/fs/cgroup/unified 2>/dev/null; "
    "for each in /run /var/lib/cni; do mkdir -p $each && mount -t tmpfs podman $each; done; "
    "ip link set lo up; echo ready; exec cat"
)
_LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")  # its own defaults need CAP_SYS_RESOURCE
_SECONDS = 120


class Podman:
    """Its containers and images in `folder`; everything is gone after the `with` block."""

    def __init__(self, folder: Path, rootfs: Path) -> None:
        self._folder = folder
        self._rootfs = rootfs

    def __enter__(self) -> "Podman":
        if shutil.which("podman") is None:
            print("installing podman from the distribution, for comparison")
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            packages = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "podman", "crun"]
            subprocess.run(packages, env=environment, check=True, stdout=subprocess.DEVNULL)
        self._folder.mkdir()
        command = ["unshare", "--mount", "--net", "sh", "-c", _ALONE]
        self._namespace = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._namespace.stdout is not None
        self._namespace.stdout.readline()
        archive = self._folder / "rootfs.tar"
        subprocess.run(["tar", "-C", str(self._rootfs), "-cf", str(archive), "."], check=True)
        self._run("import", "--quiet", str(archive), _IMAGE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._run("rm", "--all", "--force", "--time", "0")
        finally:
            self._namespace.kill()
            self._namespace.wait()
            subprocess.run(["umount", str(self._folder / "root" / "overlay")], stderr=subprocess.DEVNULL, check=False)

    def version(self) -> str:
        """`podman version 4.3.1`."""
        return self._run("--version")

    def start(self, network: str) -> float:
        """One container of `sleep`, with a network or `none`; the seconds until it runs. Raises RuntimeError."""
        began = time.monotonic()
        options = ("--detach", "--network", network, *_LIMITS)  # `podman` is its default network
        self._run("--runtime", "crun", "run", *options, _IMAGE, "/bin/sleep", "100000")
        return time.monotonic() - began

    def watchers(self) -> set[int]:
        """The processes that stay beside the containers, one each."""
        listed = self._run("ps", "--format", "{{.ID}}").split()
        found = set()
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            except OSError:
                continue
            if words[0].endswith("conmon") and any(word[:12] in listed for word in words):
                found.add(int(folder.name))
        return found

    def _run(self, *arguments: str) -> str:
        places = ("--root", str(self._folder / "root"), "--runroot", str(self._folder / "run"))
        command = ["nsenter", "--mount", "--net", "--target", str(self._namespace.pid)]
        command += ["podman", "--storage-driver", "overlay", *places, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"podman {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()
