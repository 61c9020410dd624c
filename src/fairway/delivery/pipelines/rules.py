"""Whether a job of a pipeline file runs: `rules`, or the older `only` and `except`."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.delivery.pipelines.conditions import BadCondition, expand, holds, matches, slashed
from fairway.delivery.pipelines.fields import Fields

WHENS = ("on_success", "on_failure", "always", "manual", "never", "delayed")
_KEYWORDS = {
    "branches": "CI_COMMIT_BRANCH",
    "tags": "CI_COMMIT_TAG",
}
_SOURCES = ("pushes", "web", "api", "schedules", "triggers", "merge_requests", "external", "pipelines", "chat")


class Verdict(msgspec.Struct, frozen=True):
    """When a job runs (`never`: not at all), and what its rule adds."""

    when: str
    allow_failure: bool | None = None
    variables: Mapping[str, str] = {}


def decide(job: Fields, variables: Mapping[str, str], files: frozenset[str]) -> Verdict:
    """What the rules of a job say; `files` are the paths at the top of the repository. Raises PipelineError."""
    when = job.text("when", "on_success")
    if when not in WHENS:
        job.refuse(f"{when!r} is none of {', '.join(WHENS)}", "when")
    if job.values.get("rules") is not None:
        if "only" in job.values or "except" in job.values:
            job.refuse("rules and only/except do not go together; write rules", "rules")
        return _first_rule(job, when, variables, files)
    if "only" in job.values and not _fits(job, "only", variables):
        return Verdict("never")
    if "except" in job.values and _fits(job, "except", variables):
        return Verdict("never")
    return Verdict(when)


def _first_rule(job: Fields, when: str, variables: Mapping[str, str], files: frozenset[str]) -> Verdict:
    """The first rule that is met decides; without any the job does not run."""
    for rule in job.mappings("rules"):
        if _met(rule, variables, files):
            then = rule.text("when", when)
            if then not in WHENS:
                rule.refuse(f"{then!r} is none of {', '.join(WHENS)}", "when")
            allowed = rule.flag("allow_failure") if "allow_failure" in rule.values else None
            return Verdict(then, allowed, rule.variables("variables"))
    return Verdict("never")


def _met(rule: Fields, variables: Mapping[str, str], files: frozenset[str]) -> bool:
    """`changes` counts as met: a run is about a whole commit, not about a difference."""
    if "if" in rule.values and not _holds(rule, rule.text("if"), variables, "if"):
        return False
    long_form = isinstance(rule.values.get("exists"), dict)
    exists = rule.inner("exists").texts("paths") if long_form else rule.texts("exists")
    return not exists or any(_there(expand(path, variables), files) for path in exists)


def _there(pattern: str, files: frozenset[str]) -> bool:
    text = pattern.removeprefix("./").removeprefix("**/")
    regex = re.compile("".join("[^/]*" if char == "*" else re.escape(char) for char in text[:200]) + r"\Z")
    return any(regex.match(path) for path in files)


def _holds(fields: Fields, text: str, variables: Mapping[str, str], *names: str | int) -> bool:
    try:
        met = holds(text, variables)
    except BadCondition as error:
        fields.refuse(str(error), *names)
    return met


def _fits(job: Fields, name: str, variables: Mapping[str, str]) -> bool:
    """Whether `only` or `except` fits: refs and variables must both fit where both are given."""
    value: Any = job.values[name]
    if not isinstance(value, dict):
        return any(_ref(job, ref, variables, name) for ref in job.texts(name))
    inner = job.inner(name)
    parts = []
    if "refs" in value:
        parts.append(any(_ref(inner, ref, variables, "refs") for ref in inner.texts("refs")))
    if "variables" in value:
        parts.append(any(_holds(inner, text, variables, "variables") for text in inner.texts("variables")))
    return all(parts)


def _ref(fields: Fields, ref: str, variables: Mapping[str, str], name: str) -> bool:
    if ref in _KEYWORDS:
        return bool(variables.get(_KEYWORDS[ref]))
    if ref in _SOURCES:
        return ref == "pushes" if variables.get("CI_PIPELINE_SOURCE") == "push" else ref == "web"
    try:
        pattern = slashed(ref)
        there = variables.get("CI_COMMIT_REF_NAME", "")
        return ref == there if pattern is None else matches(pattern, there)
    except BadCondition as error:
        fields.refuse(str(error), name)
