"""Release: an image, its configuration and its manifests, fixed for ever."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from fairway.delivery.kinds.apps import object_name
from fairway.kube.api.meta import Condition, ObjectMeta
from fairway.kube.api.noun import Noun

ENDED = ("Live", "Superseded", "Failed")


class ReleaseSpec(Noun, frozen=True):
    """Immutable as a whole."""

    app: str = ""
    environment: str = ""
    number: int = 0
    """Counts up within an App's environment."""
    image: str = ""
    """repository@sha256:…; empty when the manifests bring their own."""
    port: int = 0
    """What the image listens on, when known."""
    user: str = ""
    """As in the status of the run."""
    commit: str = ""
    ref: str = ""
    run: str = ""
    reason: str = "deploy"
    """deploy, config, rollback or promote."""
    of: str = ""
    """The Release that this one repeats."""
    actor: str = ""
    app_generation: int = 0
    """The generation of the App whose wishes are in it."""
    wishes: str = ""
    """What the App wished of the environment when this was made (see releases/wishes.py)."""
    on_failure: str = "rollback"
    configuration: str = ""
    """The immutable Secret with the frozen variables; empty when there are none."""
    manifests: tuple[Mapping[str, Any], ...] = ()
    adopted: bool = False
    """Jobs of the pipeline made the objects; the manifests are what was there when their run had ended."""
    images: Mapping[str, str] = {}
    """Names of images in adopted manifests, and repository@sha256:… that the run made under them."""
    broken: str = ""
    """Why this counts as failed from the beginning: the run that made it did not end well."""


class Diagnosis(Noun, frozen=True):
    """What a failed rollout left to see."""

    pod: str = ""
    probe: str = ""
    """The last answer of a probe, as its Event said it."""
    container: str = ""
    """Why a container waits or ended."""
    log: str = ""
    """The last lines of its log."""


class ReleaseStatus(Noun, frozen=True):
    phase: str = ""
    """Pending, Rolling, then one of ENDED."""
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    diagnosis: Diagnosis | None = None
    rolled_back_to: str = ""


class Release(Noun, frozen=True):
    """One Release."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReleaseSpec = ReleaseSpec()
    status: ReleaseStatus = ReleaseStatus()


def release_name(app: str, environment: str, number: int) -> str:
    return f"{object_name(app, environment)}-v{number}"
