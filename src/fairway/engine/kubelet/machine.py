"""What this machine has: processors, memory, disk; and whether it runs short."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import msgspec

_FEWEST_PODS = 110  # upstream's own default
_MOST_PODS = 1000
_POD_KIBIBYTES = 32 * 1024  # a pod and what runs in it, for a guess


class Machine(msgspec.Struct, frozen=True):
    """Resource quantities as a Node shows them."""

    capacity: Mapping[str, str]
    allocatable: Mapping[str, str]


class Pressure(msgspec.Struct, frozen=True):
    """What the machine is short of."""

    memory: bool
    disk: bool
    pids: bool


def measure(folder: Path, pods_max: int | None = None) -> Machine:
    """Count the machine; `folder` is on the disk that counts, its parents are made if need be.  Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = os.statvfs(folder)
    memory = _meminfo()["MemTotal"]
    capacity = {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory}Ki",
        "ephemeral-storage": f"{disk.f_blocks * disk.f_frsize // 1024}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "pods": str(pods_max or min(_MOST_PODS, max(_FEWEST_PODS, memory // _POD_KIBIBYTES))),
    }
    allocatable = {**capacity, "ephemeral-storage": str(disk.f_blocks * disk.f_frsize * 9 // 10)}
    return Machine(capacity, allocatable)


def node_info(version: str) -> dict[str, str]:
    """`status.nodeInfo`.  Raises OSError."""
    system = platform.uname()
    return {
        "machineID": _read("/etc/machine-id"),
        "systemUUID": _read("/sys/class/dmi/id/product_uuid"),
        "bootID": _read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": system.release,
        "osImage": _os_name(),
        "containerRuntimeVersion": f"fairway://{version.removeprefix('v')}",
        "kubeletVersion": version,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def architecture() -> str:
    """The machine's architecture in Go's words."""
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in kibibytes."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def _os_name() -> str:
    for line in _read("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
