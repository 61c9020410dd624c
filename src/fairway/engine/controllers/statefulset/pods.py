"""The pods of a StatefulSet: made from a revision, under a name that stays."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers.pod_drafts import draft
from fairway.engine.controllers.references import owner_reference
from fairway.engine.controllers.revisions import REVISION_LABEL
from fairway.engine.controllers.statefulset.claims import claim_name, volumes
from fairway.engine.controllers.statefulset.snapshot import Snapshot
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import STATEFUL_SETS
from fairway.kube.api.statefulsets import ControllerRevision, StatefulSet

NAME_LABEL = "statefulset.kubernetes.io/pod-name"
INDEX_LABEL = "apps.kubernetes.io/pod-index"


def revision_for(seen: Snapshot, ordinal: int) -> ControllerRevision:
    """From which revision a missing pod is made: below the partition from the current one."""
    strategy = seen.spec.update_strategy
    if strategy.type != "RollingUpdate":
        return seen.update
    rolling = strategy.rolling_update
    kept = rolling.partition if rolling else seen.stateful_set.status.current_replicas
    return seen.current if ordinal < seen.start + kept else seen.update


def new_pod(seen: Snapshot, ordinal: int) -> dict[str, Any]:
    """The pod of that ordinal, in raw JSON."""
    stateful_set, revision = seen.stateful_set, revision_for(seen, ordinal)
    name = f"{stateful_set.metadata.name}-{ordinal}"
    owner = owner_reference(STATEFUL_SETS, stateful_set.metadata)
    pod = draft(_template(revision), stateful_set.metadata.namespace, name, owner)
    pod["metadata"]["generateName"] = f"{stateful_set.metadata.name}-"
    labels = {NAME_LABEL: name, INDEX_LABEL: str(ordinal), REVISION_LABEL: revision.metadata.name}
    pod["metadata"]["labels"].update(labels)
    spec = pod["spec"]
    spec["hostname"] = name
    if stateful_set.spec.service_name:
        spec["subdomain"] = stateful_set.spec.service_name
    if stateful_set.spec.volume_claim_templates:
        spec["volumes"] = volumes(stateful_set, ordinal, spec.get("volumes", []))
    return pod


def identity_patch(stateful_set: StatefulSet, pod: Pod, ordinal: int) -> Mapping[str, Any] | None:
    """What of its labels has to be put right; None when they are."""
    wanted = {NAME_LABEL: pod.metadata.name, INDEX_LABEL: str(ordinal)}
    if all(pod.metadata.labels.get(key) == value for key, value in wanted.items()):
        return None
    return {"metadata": {"uid": pod.metadata.uid, "labels": wanted}}


def storage_matches(stateful_set: StatefulSet, pod: Pod, ordinal: int) -> bool:
    """Whether it uses the claims of its ordinal."""
    used = {volume.name: (volume.persistent_volume_claim or {}).get("claimName") for volume in pod.spec.volumes}
    templates = stateful_set.spec.volume_claim_templates
    return all(used.get(item["metadata"]["name"]) == claim_name(item, stateful_set, ordinal) for item in templates)


def _template(revision: ControllerRevision) -> dict[str, Any]:
    template = revision.data.get("spec", {}).get("template", {})
    return {key: value for key, value in template.items() if key != "$patch"}
