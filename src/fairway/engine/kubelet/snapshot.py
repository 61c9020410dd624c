"""What the kubelet sees of one pod on this node, as one frozen value for `plan` and `status`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from fairway.kube.api.pods import ResourceRequirements


class Termination(msgspec.Struct, frozen=True, kw_only=True):
    """How one run of a container ended."""

    exit_code: int
    container_id: str
    reason: str = ""
    message: str = ""
    signal: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


class Backoff(msgspec.Struct, frozen=True):
    """How long a crashed container waits, and since when; zero means that the next crash restarts at once."""

    seconds: float = 0
    updated_at: datetime | None = None


class Trouble(msgspec.Struct, frozen=True):
    """Why a container is not running though it should; shown as its waiting state."""

    reason: str
    message: str
    retry_at: datetime


class ContainerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The newest run of one container.

    `current` is false for a run in an earlier sandbox. `failed_probe` names the probe that condemned this run.
    """

    name: str
    id: str
    status: Literal["starting", "running", "exited"]
    attempt: int = 0
    image: str = ""
    image_ref: str = ""
    current: bool = True
    started_at: datetime | None = None
    termination: Termination | None = None
    previous: Termination | None = None
    backoff: Backoff = Backoff()
    started: bool = False
    ready: bool = False
    failed_probe: str = ""
    resources: ResourceRequirements | None = None
    """What the run may use; None is what the pod says."""


class Pending(msgspec.Struct, frozen=True):
    """Why a pod does not get the resources that it wants now: Infeasible or Deferred."""

    reason: str
    message: str


EVICTED = "Evicted"
"""The reason of a pod that was ended because the node needs what it uses."""


class Verdict(msgspec.Struct, frozen=True):
    """Why the kubelet itself ended a pod."""

    reason: str
    message: str


class PodSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One pod at one moment.

    `busy` are containers that are being started or stopped right now.
    """

    now: datetime
    sandbox: bool = False
    sandbox_busy: bool = False
    sandbox_retry_at: datetime | None = None
    ip: str = ""
    containers: Mapping[str, ContainerSeen] = {}
    busy: frozenset[str] = frozenset()
    troubles: Mapping[str, Trouble] = {}
    verdict: Verdict | None = None
    resize_pending: Pending | None = None

    def running(self) -> tuple[ContainerSeen, ...]:
        """Every container with a live process."""
        return tuple(seen for seen in self.containers.values() if seen.status != "exited")
