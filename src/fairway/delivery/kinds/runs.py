"""PipelineRun: one commit on its way to an image."""

from collections.abc import Mapping
from datetime import datetime

from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun

ENDED = ("Succeeded", "Failed", "Cancelled", "Superseded")
STEP_FAILED = "StepFailed"
"""The reason of a run that failed with one of its steps, whose message says why."""


class Trigger(Noun, frozen=True):
    """Why it runs: push (built-in endpoint), webhook, poll, upload, manual or retry; who or which delivery."""

    kind: str = "manual"
    delivery: str = ""
    actor: str = ""


class PipelineRunSpec(Noun, frozen=True):
    """Immutable but for `cancelled`, which may become true."""

    app: str = ""
    number: int = 0
    commit: str = ""
    ref: str = ""
    message: str = ""
    """The first line of the commit's message."""
    trigger: Trigger = Trigger()
    cancelled: bool = False


class Step(Noun, frozen=True):
    """One job of the pipeline, or one of the platform's own steps (checkout, image)."""

    name: str
    stage: str = ""
    phase: str = "Pending"
    """Pending, Running, Succeeded, Failed, Skipped, Cancelled."""
    job: str = ""
    """The Kubernetes Job; empty for what the platform does itself."""
    attempt: int = 0
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int | None = None
    message: str = ""
    allowed_to_fail: bool = False


class Change(Noun, frozen=True):
    """An object of the App's namespace that a job of the run changed through the API."""

    environment: str = ""
    group: str = ""
    """Of the API; empty for the core."""
    resource: str = ""
    name: str = ""
    deleted: bool = False


class PipelineRunStatus(Noun, frozen=True):
    phase: str = ""
    """Queued, Running, then one of ENDED."""
    reason: str = ""
    message: str = ""
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    steps: tuple[Step, ...] = ()
    framework: str = ""
    """What was detected, or the name of the pipeline file."""
    image: str = ""
    """repository@sha256:… of what was built."""
    port: int = 0
    """What the image listens on, when known."""
    user: str = ""
    """`uid` or `uid:gid` that the image runs as; empty for root and where it is not known."""
    log_bytes: int = 0
    images: Mapping[str, str] = {}
    """The names that the pipeline file gives images, and repository@sha256:… of each."""
    deploys: bool = False
    """Jobs of it may change the cluster: what they change is released, and nothing else."""
    changes: tuple[Change, ...] = ()


class PipelineRun(Noun, frozen=True):
    """One PipelineRun."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PipelineRunSpec = PipelineRunSpec()
    status: PipelineRunStatus = PipelineRunStatus()


def run_name(app: str, number: int) -> str:
    return f"{app}-{number}"
