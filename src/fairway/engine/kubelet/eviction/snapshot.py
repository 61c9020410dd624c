"""What the node has left, and what its pods use."""

from collections.abc import Mapping

import msgspec

from fairway.kube.api.pods import Pod


class Amount(msgspec.Struct, frozen=True):
    """What is left of how much."""

    available: int
    capacity: int


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """The machine at one moment: bytes, inodes and process ids."""

    memory: Amount
    disk: Amount
    inodes: Amount
    pids: Amount


class ContainerUsage(msgspec.Struct, frozen=True):
    """Bytes of one container."""

    name: str
    memory_bytes: int = 0
    disk_bytes: int = 0


class PodUsage(msgspec.Struct, frozen=True, kw_only=True):
    """One running pod; `empty_dirs` are the bytes in its disk volumes by name."""

    pod: Pod
    containers: tuple[ContainerUsage, ...] = ()
    empty_dirs: Mapping[str, int] = {}

    @property
    def memory_bytes(self) -> int:
        return sum(each.memory_bytes for each in self.containers)

    @property
    def disk_bytes(self) -> int:
        return sum(each.disk_bytes for each in self.containers) + sum(self.empty_dirs.values())
