"""ReplicationControllers and PodTemplates: what ReplicaSets and Deployments came from."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.defaulting import child, fill_numbers
from fairway.engine.apiserver.resources.kind import (
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    count_generation,
    generation_only,
    name_of,
)
from fairway.engine.apiserver.resources.pod_spec import validate_running_template
from fairway.engine.apiserver.resources.replicasets import COLUMNS, prepare_create
from fairway.engine.apiserver.resources.workloads import default_template, validate_counts, wide_cells


def default(controller: Object) -> None:
    """core/v1 SetDefaults_ReplicationController: selector and labels come from the template."""
    spec = child(controller, "spec")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if labels and not spec.get("selector"):
        spec["selector"] = dict(labels)
    if labels and not controller["metadata"].get("labels"):
        controller["metadata"]["labels"] = dict(labels)
    fill_numbers(spec, {"replicas": 1})
    if spec.get("template"):
        default_template(spec)


def validate(new: Object, old: Object | None) -> list[Cause]:
    """core validation of a ReplicationController."""
    spec = new.get("spec") or {}
    found = validate_counts(spec, "replicas", "minReadySeconds")
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        found.append(causes.required("spec.selector"))
    if not template:
        return [*found, causes.required("spec.template")]
    labels = (template.get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        says = "`selector` does not match template `labels`"
        found.append(causes.invalid("spec.template.metadata.labels", labels, says))
    return found + validate_running_template(template, "spec.template")


def row(controller: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = controller.get("spec") or {}, controller.get("status") or {}
    counts = [spec.get("replicas") or 0, status.get("replicas") or 0, status.get("readyReplicas") or 0]
    selector = ",".join(f"{key}={value}" for key, value in sorted((spec.get("selector") or {}).items()))
    return [
        name_of(controller),
        *counts,
        age_of(controller, now),
        *wide_cells({"template": spec.get("template")})[:2],
        selector,
    ]


def selectable(controller: Object) -> dict[str, str]:
    """What field selectors may name."""
    return {"status.replicas": str((controller.get("status") or {}).get("replicas") or 0)}


REPLICATION_CONTROLLERS = Kind(
    group="",
    version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    singular="replicationcontroller",
    namespaced=True,
    list_kind="ReplicationControllerList",
    short_names=("rc",),
    categories=("all",),
    subresources=("scale", "status"),
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=prepare_create,
    prepare_update=bump_generation,
    validate=validate,
    selectable=selectable,
)


def default_pod_template(obj: Object) -> None:
    """core/v1 SetDefaults_PodTemplate."""
    if obj.get("template"):
        default_template(obj)


def pod_template_row(obj: Object, now: datetime) -> list[object]:
    """One cell per column."""
    labels = ((obj.get("template") or {}).get("metadata") or {}).get("labels") or {}
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or "<none>"
    return [name_of(obj), *wide_cells({"template": obj.get("template")})[:2], shown]


POD_TEMPLATES = Kind(
    group="",
    version="v1",
    kind="PodTemplate",
    plural="podtemplates",
    singular="podtemplate",
    namespaced=True,
    list_kind="PodTemplateList",
    create_on_update=True,
    columns=(
        NAME,
        Column("Containers", "string", "Names of each container in the template."),
        Column("Images", "string", "Images referenced by each container in the template."),
        Column("Pod Labels", "string", "The labels for the pod template."),
    ),
    row=pod_template_row,
    default=default_pod_template,
    prepare_create=generation_only,
    prepare_update=count_generation,
    delete_returns_object=True,
)
