"""Audit policies: the first rule that fits a request says how much is written.

Follows the documentation of audit.k8s.io/v1 Policy.
"""

from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path

import msgspec
import yaml

from fairway.engine.apiserver.authorization import Attributes


class Level(IntEnum):
    """How much of a request is written: each level contains the one before."""

    NONE = 0
    METADATA = 1
    REQUEST = 2
    REQUEST_RESPONSE = 3


_LEVELS = {"None": Level.NONE, "Metadata": Level.METADATA, "Request": Level.REQUEST}
_LEVELS["RequestResponse"] = Level.REQUEST_RESPONSE
NAMES = {level: name for name, level in _LEVELS.items()}
_STAGES = frozenset({"RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"})


class GroupResources(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Resources of one group; `pods/*`, `*/status` and `*` are wildcards."""

    group: str = ""
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()

    def fits(self, wanted: Attributes) -> bool:
        if self.group != wanted.group:
            return False
        if self.resource_names and wanted.name not in self.resource_names:
            return False
        combined = f"{wanted.resource}/{wanted.subresource}" if wanted.subresource else wanted.resource
        return not self.resources or any(_fits(pattern, combined) for pattern in self.resources)


class Rule(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Every list that is not empty must hold what the request has."""

    level: str
    users: tuple[str, ...] = ()
    user_groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[GroupResources, ...] = ()
    namespaces: tuple[str, ...] = ()
    non_resource_ur_ls: tuple[str, ...] = msgspec.field(name="nonResourceURLs", default=())
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool | None = None

    def fits(self, wanted: Attributes) -> bool:
        user = wanted.user
        if self.users and user.name not in self.users:
            return False
        if self.user_groups and not set(self.user_groups) & set(user.groups):
            return False
        if self.verbs and wanted.verb not in self.verbs:
            return False
        return self._fits_resource(wanted) if wanted.resource else self._fits_path(wanted)

    def _fits_resource(self, wanted: Attributes) -> bool:
        if self.namespaces and wanted.namespace not in self.namespaces:
            return False
        if self.resources:
            return any(each.fits(wanted) for each in self.resources)
        return not self.non_resource_ur_ls

    def _fits_path(self, wanted: Attributes) -> bool:
        if self.resources or self.namespaces:
            return False
        urls = self.non_resource_ur_ls
        return not urls or any(_fits_url(url, wanted.path) for url in urls)


class Policy(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """audit.k8s.io/v1 Policy."""

    rules: tuple[Rule, ...]
    api_version: str = "audit.k8s.io/v1"
    kind: str = "Policy"
    metadata: dict[str, object] | None = None
    omit_stages: tuple[str, ...] = ()
    omit_managed_fields: bool = False

    def level(self, wanted: Attributes) -> Level:
        """How much is written; nothing when no rule fits."""
        return next((_LEVELS[rule.level] for rule in self.rules if rule.fits(wanted)), Level.NONE)

    def wants(self, wanted: Attributes, stage: str) -> bool:
        """Whether a stage is written, if the level says that anything is."""
        rule = next((rule for rule in self.rules if rule.fits(wanted)), None)
        return stage not in self.omit_stages and (rule is None or stage not in rule.omit_stages)

    def bare(self, wanted: Attributes) -> bool:
        """Whether managed fields are left out of bodies."""
        rule = next((rule for rule in self.rules if rule.fits(wanted)), None)
        said = rule.omit_managed_fields if rule is not None else None
        return self.omit_managed_fields if said is None else said


def load(path: Path) -> Policy:
    """Read a policy file. Raises OSError; ValueError that names the file and what is wrong in it."""
    try:
        policy = msgspec.convert(yaml.safe_load(path.read_text()), Policy)
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    complaint = _complaint(policy)
    if complaint:
        raise ValueError(f"{path}: {complaint}")
    return policy


def _complaint(policy: Policy) -> str:
    if (policy.api_version, policy.kind) != ("audit.k8s.io/v1", "Policy"):
        return f"must be a Policy of audit.k8s.io/v1, not {policy.kind} of {policy.api_version}"
    for index, rule in enumerate(policy.rules):
        if rule.level not in _LEVELS:
            return f"rules[{index}].level: {rule.level!r} must be one of {', '.join(_LEVELS)}"
        if wrong := _unknown(rule.omit_stages):
            return f"rules[{index}].omitStages: {wrong!r} must be one of {', '.join(sorted(_STAGES))}"
        if rule.non_resource_ur_ls and (rule.resources or rule.namespaces):
            return f"rules[{index}]: rules cannot apply to both regular resources and non-resource URLs"
    if wrong := _unknown(policy.omit_stages):
        return f"omitStages: {wrong!r} must be one of {', '.join(sorted(_STAGES))}"
    return ""


def _unknown(stages: Sequence[str]) -> str:
    return next((stage for stage in stages if stage not in _STAGES), "")


def _fits(pattern: str, combined: str) -> bool:
    if pattern in ("*", combined):
        return True
    if pattern.endswith("/*"):
        return combined.startswith(pattern[:-1])
    return pattern.startswith("*/") and combined.endswith(pattern[1:])


def _fits_url(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
