"""What the kubelet must still know about a pod after it was killed: a small file for each pod.

The API holds what users see; this holds which container of the runtime is which, and what is not shown anywhere.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from fairway.engine.kubelet.snapshot import Backoff, Termination, Verdict
from fairway.kube.api.pods import ResourceRequirements
from fairway.toolkit import files

_NAME = "pod.json"


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The newest run of one container.

    `launched` is written after the runtime took it: a run that was only intended does not count as a restart.
    `termination` is kept once the run has ended, because the runtime may forget it. `resources`
    are those that the run may use now.
    """

    name: str
    id: str
    attempt: int
    sandbox: str
    image: str
    image_ref: str = ""
    stop_signal: str = ""
    launched: bool = False
    started_at: datetime | None = None
    termination: Termination | None = None
    previous: Termination | None = None
    backoff: Backoff = Backoff()
    resources: ResourceRequirements | None = None


class PodRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One pod by uid; an empty `sandbox` means that it has none now. `sandboxes` counts those it has had.

    `granted` are the resources of its containers that this node agreed to.
    """

    uid: str
    namespace: str
    name: str
    sandbox: str = ""
    sandboxes: int = 0
    ip: str = ""
    containers: tuple[ContainerRecord, ...] = ()
    verdict: Verdict | None = None
    granted: dict[str, ResourceRequirements] = {}

    def container(self, name: str) -> ContainerRecord | None:
        """The newest run of that container."""
        return next((each for each in self.containers if each.name == name), None)

    def with_container(self, record: ContainerRecord) -> "PodRecord":
        """The same pod with one run replaced or added."""
        others = tuple(each for each in self.containers if each.name != record.name)
        return msgspec.structs.replace(self, containers=(*others, record))


def save(folder: Path, record: PodRecord) -> None:
    """Write the record so that a crash of this process leaves the old or the new one.  Raises OSError.

    Not flushed to the disk: after a power cut every container is gone anyway.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.replace(folder / _NAME, msgspec.json.encode(record), mode=0o600)


def load(folder: Path) -> PodRecord | None:
    """The record in a pod's folder; None when there is none that can be read.  Raises OSError."""
    try:
        return msgspec.json.decode((folder / _NAME).read_bytes(), type=PodRecord)
    except (FileNotFoundError, msgspec.DecodeError):
        return None
