"""What is wrong with an Ingress (networking.k8s.io validation)."""

import ipaddress
from typing import Any

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.kind import Cause, Object

PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDINGS = ("/..", "/.")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"


def validate(new: Object, old: Object | None) -> list[Cause]:
    """All causes at once."""
    spec = new.get("spec") or {}
    found: list[Cause] = []
    rules, backend = spec.get("rules") or (), spec.get("defaultBackend")
    if not rules and backend is None:
        found.append(causes.invalid("spec", rules or [], "either `defaultBackend` or `rules` must be specified"))
    if backend is not None:
        found += _backend(backend, "spec.defaultBackend")
    for index, rule in enumerate(rules):
        found += _rule(rule, f"spec.rules[{index}]")
    for index, entry in enumerate(spec.get("tls") or ()):
        found += _tls(entry, f"spec.tls[{index}]")
    return found + _class(new, spec, old)


def _class(new: Object, spec: Object, old: Object | None) -> list[Cause]:
    name = spec.get("ingressClassName")
    found = causes.invalid_each("spec.ingressClassName", name, names.dns_subdomain(name)) if name is not None else []
    annotated = ((new.get("metadata") or {}).get("annotations") or {}).get(_CLASS_ANNOTATION)
    if old is None and annotated is not None and name is not None and annotated != name:
        says = "must match `ingressClassName` when both are specified"
        found.append(causes.invalid(f"metadata.annotations[{_CLASS_ANNOTATION}]", annotated, says))
    return found


def _rule(rule: Object, path: str) -> list[Cause]:
    host = rule.get("host") or ""
    found = _host(host, f"{path}.host") if host else []
    if rule.get("http") is None:
        return found
    paths = rule["http"].get("paths") or ()
    if not paths:
        return [*found, causes.required(f"{path}.http.paths")]
    for index, entry in enumerate(paths):
        found += _path(entry, f"{path}.http.paths[{index}]")
    return found


def _host(host: str, field: str) -> list[Cause]:
    if _is_address(host):
        return [causes.invalid(field, host, "must be a DNS name, not an IP address")]
    rule = names.wildcard_subdomain if "*" in host else names.dns_subdomain
    return causes.invalid_each(field, host, rule(host))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _path(entry: Object, path: str) -> list[Cause]:
    kind, text = entry.get("pathType"), entry.get("path") or ""
    if kind is None:
        found = [causes.required(f"{path}.pathType", "pathType must be specified")]
    elif kind not in PATH_TYPES:
        found = [causes.unsupported(f"{path}.pathType", kind, PATH_TYPES)]
    elif kind == "ImplementationSpecific":
        found = _absolute(text, f"{path}.path") if text else []
    else:
        found = _absolute(text, f"{path}.path") or _clean(text, f"{path}.path")
    return found + _backend(entry.get("backend") or {}, f"{path}.backend")


def _absolute(text: str, field: str) -> list[Cause]:
    return [] if text.startswith("/") else [causes.invalid(field, text, "must be an absolute path")]


def _clean(text: str, field: str) -> list[Cause]:
    found = [causes.invalid(field, text, f"must not contain '{bad}'") for bad in _BAD_SEQUENCES if bad in text]
    return found + [
        causes.invalid(field, text, f"cannot end with '{bad}'") for bad in _BAD_ENDINGS if text.endswith(bad)
    ]


def _backend(backend: Object, path: str) -> list[Cause]:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None and service is not None:
        return [causes.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return [causes.required(f"{path}.resource.{key}") for key in ("kind", "name") if not resource.get(key)]
    if service is None:
        return [causes.required(path)]
    return _service(service, path)


def _service(service: Object, path: str) -> list[Cause]:
    name, port = service.get("name") or "", service.get("port") or {}
    found = (
        causes.invalid_each(f"{path}.service.name", name, names.dns_1035_label(name))
        if name
        else [causes.required(f"{path}.service.name")]
    )
    return found + _port(port, path)


def _port(port: Object, path: str) -> list[Cause]:
    name, number = port.get("name") or "", port.get("number") or 0
    if name and number:
        return [causes.invalid(path, "", "cannot set both port name & port number")]
    if name:
        return causes.invalid_each(f"{path}.service.port.name", name, names.port_name(name))
    if number:
        return causes.invalid_each(f"{path}.service.port.number", number, names.port_number(number))
    return [causes.required(path, "port name or number is required")]


def _tls(entry: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    hosts: Any = entry.get("hosts") or ()
    for index, host in enumerate(hosts):
        rule = names.wildcard_subdomain if "*" in host else names.dns_subdomain
        found += causes.invalid_each(f"{path}.hosts[{index}]", host, rule(host))
    secret = entry.get("secretName")
    if secret:
        found += causes.invalid_each(f"{path}.secretName", secret, names.dns_subdomain(secret))
    return found
