"""IngressClasses: which controller serves an Ingress."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    count_generation,
    generation_only,
    name_of,
)

CONTROLLER_BYTES_MAX = 250

COLUMNS = (
    NAME,
    Column("Controller", "string", "Controller that is responsible for handling this class"),
    Column("Parameters", "string", "A reference to a resource with additional parameters"),
    AGE,
)


def default(ingress_class: Object) -> None:
    """Parameters are cluster-wide unless they say otherwise."""
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def validate(new: Object, old: Object | None) -> list[Cause]:
    """networking.k8s.io validation; the controller never changes."""
    spec = new.get("spec") or {}
    controller = spec.get("controller") or ""
    found: list[Cause] = []
    if len(controller) > CONTROLLER_BYTES_MAX:
        found.append(causes.too_long("spec.controller", CONTROLLER_BYTES_MAX))
    found += _controller(controller, "spec.controller")
    if spec.get("parameters"):
        found += _parameters(spec["parameters"], "spec.parameters")
    if old is not None:
        found += causes.immutable("spec.controller", controller, (old.get("spec") or {}).get("controller") or "")
    return found


def row(ingress_class: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec = ingress_class.get("spec") or {}
    parameters = spec.get("parameters") or {}
    kind = ".".join(part for part in (parameters.get("kind"), parameters.get("apiGroup")) if part)
    shown = f"{kind}/{parameters.get('name')}" if parameters else "<none>"
    return [name_of(ingress_class), spec.get("controller") or "", shown, age_of(ingress_class, now)]


def _controller(text: str, field: str) -> list[Cause]:
    if not text:
        return [causes.required(field)]
    domain, slash, path = text.partition("/")
    if not slash or not domain or not path:
        return [causes.invalid(field, text, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    return causes.invalid_each(field, domain, names.dns_subdomain(domain))


def _parameters(parameters: Object, path: str) -> list[Cause]:
    found = [causes.required(f"{path}.{key}") for key in ("kind", "name") if not parameters.get(key)]
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    found += causes.one_of(f"{path}.scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace" and not namespace:
        found.append(causes.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
    if scope == "Cluster" and namespace:
        found.append(causes.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    return found


INGRESS_CLASSES = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="IngressClass",
    plural="ingressclasses",
    singular="ingressclass",
    namespaced=False,
    list_kind="IngressClassList",
    columns=COLUMNS,
    row=row,
    default=default,
    prepare_create=generation_only,
    prepare_update=count_generation,
    validate=validate,
)
