"""The names of what a run makes: the same ones whenever they are asked for."""

import hashlib
import re

STEP_ANNOTATION = "fairway.dev/step"
ATTEMPT_ANNOTATION = "fairway.dev/attempt"
NETWORK_LABEL = "fairway.dev/network"
"""On pods of jobs: `build` may reach the outside alone, `cluster` the API as well."""

SOURCE = "source"
SCRIPT = "script"
UPLOAD = "upload"
CLUSTER = "cluster"

_UNFIT = re.compile(r"[^a-z0-9]+")
_LENGTH_MAX = 57  # a pod of a Job gets six characters more, and labels hold 63


def job_name(run: str, step: str, attempt: int) -> str:
    """`<run>-<step>`, from the second attempt on `<run>-<step>-2`; cut, with a hash, where it would not fit."""
    suffix = f"-{attempt}" if attempt > 1 else ""
    name = f"{run}-{step_name(step)}"
    if len(name) + len(suffix) > _LENGTH_MAX:
        name = f"{name[: _LENGTH_MAX - 7 - len(suffix)].rstrip('-')}-{_hash(name)}"
    return name + suffix


def step_name(step: str) -> str:
    """A step as a file and part of an object's name: different steps have different names."""
    plain = _UNFIT.sub("-", step.lower()).strip("-")
    return plain if plain == step and len(plain) <= 40 else f"{plain[:33].strip('-')}-{_hash(step)}"


def pipeline_name(run: str) -> str:
    """The ConfigMap that holds what a run does, fixed when it began."""
    return f"{run}-pipeline"


def cache_name(key: str) -> str:
    """A cache's key as a file name."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
