"""Manifests that a repository brings: hostile text in, objects of one App's namespace out.

In every string `${IMAGE}`, `${APP}`, `${ENVIRONMENT}`, `${NAMESPACE}`, `${COMMIT}`, `${PORT}`, `${DOMAIN}` (the first
one) and `${CONFIGURATION}` (the Secret with the App's variables, for `envFrom`) stand for their values. The image that
was built also goes where a container's image is the one word `fairway`, and into the container named as the App.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import yaml

from fairway.delivery.releases.baseline import violations
from fairway.delivery.releases.objects import (
    ALLOWED,
    Manifest,
    Manifests,
    Place,
    in_order,
    name_of,
    place_of,
    pod_template,
)
from fairway.delivery.releases.world import Problem
from fairway.kube.api.resource import DEPLOYMENTS, INGRESSES, SECRETS, SERVICES
from fairway.toolkit import go_yaml

Raw = dict[str, Any]

BYTES_MAX = 900 * 1024
_OBJECTS_MAX = 200
_NODES_MAX = 100_000
_DEPTH_MAX = 60
_PLACEHOLDER = "fairway"
_HOOK = "helm.sh/hook"
_KEPT_METADATA = ("name", "labels", "annotations")


class Values(msgspec.Struct, frozen=True):
    """What stands in for the placeholders, and what the manifests may do."""

    place: Place
    image: str = ""
    port: int = 0
    commit: str = ""
    hosts: tuple[str, ...] = ()
    """The hosts that the App holds in this environment."""
    configuration: str = ""
    progress_deadline_seconds: int = 120

    @property
    def placeholders(self) -> dict[str, str]:
        return {
            "${IMAGE}": self.image,
            "${APP}": self.place.app,
            "${ENVIRONMENT}": self.place.environment,
            "${NAMESPACE}": self.place.namespace,
            "${COMMIT}": self.commit,
            "${PORT}": str(self.port),
            "${DOMAIN}": self.hosts[0] if self.hosts else "",
            "${CONFIGURATION}": self.configuration,
        }


class _Mistake(Exception):
    """Inside this file only: a Problem on its way out of nested functions."""


def read(texts: Iterable[tuple[str, str]], values: Values) -> Manifests | Problem:
    """The objects of YAML files, given as (name, text)."""
    try:
        documents = [
            (file, document) for file, text in texts for document in _documents(file, text) if not _is_test(document)
        ]
        if not documents:
            return Problem("there are no manifests: no YAML file holds an object")
        if len(documents) > _OBJECTS_MAX:
            return Problem(f"there are {len(documents)} manifests; a Release holds at most {_OBJECTS_MAX}")
        made = in_order(_object(file, document, values) for file, document in documents)
    except _Mistake as mistake:
        return Problem(str(mistake))
    return _whole(made)


def problem_of(manifests: Iterable[Manifest], place: Place, hosts: Sequence[str]) -> Problem | None:
    """What is wrong with manifests in a Release: whoever may make one may not do all that Fairway may."""
    values = Values(place, hosts=tuple(hosts))
    try:
        for one in manifests:
            if (one.get("apiVersion"), one.get("kind")) not in ALLOWED:
                raise _Mistake(f"a Release may not hold {one.get('kind')} of {one.get('apiVersion')}")
            metadata = one.get("metadata") or {}
            if not metadata.get("name") or metadata.get("namespace") != place.namespace:
                raise _Mistake(f"{one['kind']} {metadata.get('name')}: is not in namespace {place.namespace}")
            if place_of(place.namespace, metadata.get("labels") or {}) != place:
                raise _Mistake(f"{one['kind']} {metadata['name']}: has not the labels of {place}")
            _check("spec.manifests", dict(one), values)
    except _Mistake as mistake:
        return Problem(str(mistake))
    return None


def with_hosts(manifests: Iterable[Manifest], hosts: Sequence[str]) -> Manifests:
    """The same without rules for hosts that are not among `hosts`; an Ingress without rules goes."""
    return tuple(kept for one in manifests if (kept := _with_hosts(one, hosts)) is not None)


def _with_hosts(one: Manifest, hosts: Sequence[str]) -> Manifest | None:
    if one["kind"] != INGRESSES.kind:
        return one
    spec = one["spec"]
    rules = [rule for rule in spec.get("rules") or () if _holds(rule.get("host", ""), hosts)]
    if not rules:
        return None
    entries = [
        {**tls, "hosts": [host for host in tls.get("hosts", ()) if _holds(host, hosts)]} for tls in spec.get("tls", ())
    ]
    return {**one, "spec": {**spec, "rules": rules, "tls": [tls for tls in entries if tls["hosts"]]}}


def _holds(host: str, hosts: Sequence[str]) -> bool:
    return host in hosts or f"*.{host.partition('.')[2]}" in hosts


def _whole(made: Manifests) -> Manifests | Problem:
    seen = set()
    for one in made:
        name = name_of(one)
        if name in seen:
            return Problem(f"{name} is there twice")
        seen.add(name)
    size = len(msgspec.json.encode(made))
    if size > BYTES_MAX:
        return Problem(f"the manifests are {size} bytes; a Release holds at most {BYTES_MAX}")
    return made


def _documents(file: str, text: str) -> Iterator[Raw]:
    try:
        found = list(yaml.load_all(text, go_yaml.Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _Mistake(f"{file}: not YAML: {' '.join(str(error).split())[:300]}") from None
    budget = [_NODES_MAX]
    for document in found:
        if document is None:
            continue
        _measure(file, document, budget, 0)
        if not isinstance(document, dict):
            raise _Mistake(f"{file}: holds a {type(document).__name__} where an object should be")
        if document.get("kind") == "List" and isinstance(document.get("items"), list):
            yield from (item for item in document["items"] if isinstance(item, dict))
        else:
            yield document


def _is_test(document: Raw) -> bool:
    """Whether it is a pod that `helm test` would run."""
    return "test" in str(_annotations(document).get(_HOOK, ""))


def _annotations(document: Raw) -> Raw:
    metadata = document.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _measure(file: str, value: Any, budget: list[int], depth: int) -> None:
    """Aliases make small YAML huge: what it would be once written out has a limit."""
    budget[0] -= 1
    if budget[0] < 0 or depth > _DEPTH_MAX:
        raise _Mistake(f"{file}: too many or too deeply nested values")
    if isinstance(value, dict):
        for item in value.values():
            _measure(file, item, budget, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _measure(file, item, budget, depth + 1)
    elif not isinstance(value, str | int | float | bool | None):
        raise _Mistake(f"{file}: {value!s:.80} is a {type(value).__name__}; quote it to make it a string")


def _object(file: str, document: Raw, values: Values) -> Manifest:
    document = _substituted(document, values.placeholders)
    kind = (document.get("apiVersion"), document.get("kind"))
    if kind not in ALLOWED:
        known = ", ".join(sorted(name for _, name in ALLOWED))
        raise _Mistake(f"{file}: a Release may not hold {kind[1]} of {kind[0]}; it may hold {known}")
    metadata = document.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise _Mistake(f"{file}: {kind[1]} has no metadata.name")
    if hook := _annotations(document).get(_HOOK):
        raise _Mistake(f"{file}: {kind[1]} {name}: {_HOOK}: {hook}: hooks are not run; make it a plain object")
    made = {key: value for key, value in document.items() if key not in ("metadata", "status")}
    made["metadata"] = _metadata(metadata, values.place)
    _check(file, made, values)
    return _completed(made, values)


def _metadata(metadata: Raw, place: Place) -> Raw:
    kept = {key: metadata[key] for key in _KEPT_METADATA if metadata.get(key)}
    labels = kept.get("labels")
    return {
        **kept,
        "namespace": place.namespace,
        "labels": {**(labels if isinstance(labels, dict) else {}), **place.labels},
    }


def _check(file: str, made: Raw, values: Values) -> None:
    where = f"{file}: {made['kind']} {made['metadata']['name']}"
    spec = made.get("spec") if isinstance(made.get("spec"), dict) else {}
    template = pod_template(made)
    pod = template.get("spec") if template is not None else None
    if isinstance(pod, dict):
        for violation in violations(pod):
            raise _Mistake(f"{where}: {violation}")
    if made["kind"] == INGRESSES.kind:
        _check_ingress(where, spec or {}, values.hosts)
    if made["kind"] == SERVICES.kind and spec and spec.get("externalIPs"):
        raise _Mistake(f"{where}: spec.externalIPs: takes over traffic to addresses that are not the App's")
    if made["kind"] == SECRETS.kind and made.get("type") == "kubernetes.io/service-account-token":
        raise _Mistake(f"{where}: type: tokens of service accounts are not made this way")


def _check_ingress(where: str, spec: Raw, hosts: Sequence[str]) -> None:
    if spec.get("defaultBackend"):
        raise _Mistake(f"{where}: spec.defaultBackend: would take the requests of every host; name hosts")
    for number, rule in enumerate(spec.get("rules") or ()):
        host = rule.get("host") if isinstance(rule, dict) else None
        path = f"{where}: spec.rules[{number}].host"
        if not host:
            raise _Mistake(f"{path}: must be named: a rule without one would take the requests of every host")
        _check_host(path, str(host), hosts)
    for number, entry in enumerate(spec.get("tls") or ()):
        for host in (entry.get("hosts") or ()) if isinstance(entry, dict) else ():
            # Its certificate would be made, with the key in a Secret that others may read.
            _check_host(f"{where}: spec.tls[{number}].hosts", str(host), hosts)


def _check_host(path: str, host: str, hosts: Sequence[str]) -> None:
    if not _holds(host, hosts):
        mine = ", ".join(hosts) or "none"
        raise _Mistake(f"{path}: {host} is not a domain that the App holds here ({mine}); add it to the App's domains")


def _completed(made: Raw, values: Values) -> Raw:
    template = pod_template(made)
    if template is not None and isinstance(template.get("spec"), dict):
        for group in ("initContainers", "containers"):
            for container in template["spec"].get(group) or ():
                _put_image(container, values)
    if made["kind"] == DEPLOYMENTS.kind and isinstance(made.get("spec"), dict):
        made["spec"].setdefault("progressDeadlineSeconds", values.progress_deadline_seconds)
    return made


def _put_image(container: Any, values: Values) -> None:
    if not isinstance(container, dict) or not values.image:
        return
    if container.get("image") == _PLACEHOLDER or container.get("name") == values.place.app:
        container["image"] = values.image


def _substituted(value: Any, placeholders: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _substituted(item, placeholders) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, placeholders) for item in value]
    if isinstance(value, str) and "${" in value:
        for name, text in placeholders.items():
            value = value.replace(name, text)
    return value
