"""What the status of a run says: pure, so that it is the same for the same facts."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from fairway.delivery.kinds.runs import PipelineRun, PipelineRunStatus, Step
from fairway.delivery.pipelines.ir import Pipeline
from fairway.kube.api.noun import encode

MESSAGE_LENGTH_MAX = 1024
CACHED = "cached"
"""What is said of commands that need not run."""
_FOUND = {
    "static": "a static site",
    "Dockerfile": "a Dockerfile",
    "python": "a Python program",
}
_TOLD = ("image", "command")
_OVER = ("Succeeded", "Failed", "Skipped", "Cancelled")


def headline(pipeline: Pipeline) -> str:
    """The first line that people see of a run: what the commit was taken for, and why."""
    if pipeline.framework in _TOLD:
        return f"Using {pipeline.why}"
    if pipeline.why.startswith(f"{pipeline.framework} →"):
        return f"Detected {pipeline.why}"
    return f"Detected {_FOUND.get(pipeline.framework, pipeline.framework)} ({pipeline.why})"


def queued(run: PipelineRun, now: datetime) -> PipelineRunStatus:
    """A run that waits for its turn."""
    return replace(run.status, phase="Queued", queued_at=run.status.queued_at or now)


def running(run: PipelineRun, framework: str, now: datetime) -> PipelineRunStatus:
    """A run that begins."""
    since = run.status.queued_at or now
    return replace(run.status, phase="Running", queued_at=since, started_at=now, framework=framework)


def worked(status: PipelineRunStatus, step: str, problem: str, settled: str, now: datetime) -> PipelineRunStatus:
    """A step of the platform is over, and with it perhaps the one after it, whose result was there already."""

    def after(one: Step) -> Step:
        if one.name == step:
            return replace(one, phase="Failed" if problem else "Succeeded", finished_at=now, message=problem)
        if one.name == settled and one.phase == "Pending":
            return replace(one, phase="Succeeded", attempt=1, started_at=now, finished_at=now, message=CACHED)
        return one

    return replace(status, steps=tuple(after(one) for one in status.steps))


def ended(status: PipelineRunStatus, phase: str, reason: str, message: str, now: datetime) -> PipelineRunStatus:
    """A run that is over; steps that had not ended are Cancelled."""
    steps = tuple(step if step.phase in _OVER else _cancelled(step, now) for step in status.steps)
    text = message if len(message) <= MESSAGE_LENGTH_MAX else f"{message[:MESSAGE_LENGTH_MAX]}…"
    return replace(status, phase=phase, reason=reason, message=text, finished_at=now, steps=steps)


def patch(run: PipelineRun, status: PipelineRunStatus) -> Mapping[str, Any] | None:
    """The merge patch from the status that is there to the one that is wanted; None when they are the same.

    It only fits the version of the run that was read: whoever decided on an older one decides again.
    """
    if run.status == status:
        return None
    old, new = encode(run.status), encode(status)
    gone = {key: None for key in old if key not in new}
    return {"metadata": {"resourceVersion": run.metadata.resource_version}, "status": {**gone, **new}}


def _cancelled(step: Step, now: datetime) -> Step:
    return replace(step, phase="Cancelled", finished_at=now)
