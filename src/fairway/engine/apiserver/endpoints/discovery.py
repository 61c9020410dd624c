"""Discovery: which groups, versions and resources are served, in the legacy and the aggregated form."""

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

from fairway.engine.apiserver.endpoints import answers
from fairway.engine.apiserver.endpoints.forms import alternatives
from fairway.engine.apiserver.registry import Kinds
from fairway.engine.apiserver.resources import Kind
from fairway.toolkit.http_messages import Request, Response

Document = dict[str, Any]

_AGGREGATED_VERSIONS = ("v2", "v2beta1")
_OTHER_VERBS = {"scale": ("get", "patch", "update"), "status": ("get", "patch", "update"), "finalize": ("update",)}
_SUBRESOURCE_VERBS = {
    **_OTHER_VERBS,
    "log": ("get",),
    "binding": ("create",),
    "eviction": ("create",),
    "token": ("create",),
    "approval": ("get", "patch", "update"),
    "ephemeralcontainers": ("get", "patch", "update"),
    "resize": ("get", "patch", "update"),
    "exec": ("create", "get"),
    "attach": ("create", "get"),
    "portforward": ("create", "get"),
    "proxy": ("create", "delete", "get", "patch", "update"),
}
_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale"),
    "eviction": ("policy", "v1", "Eviction"),
    "binding": ("", "v1", "Binding"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "exec": ("", "v1", "PodExecOptions"),
    "attach": ("", "v1", "PodAttachOptions"),
    "portforward": ("", "v1", "PodPortForwardOptions"),
}
SERVED_SUBRESOURCES = frozenset(
    {
        "scale",
        "status",
        "token",
        "approval",
        "finalize",
        "log",
        "binding",
        "eviction",
        "exec",
        "attach",
        "portforward",
        "proxy",
        "ephemeralcontainers",
        "resize",
    }
)
"""What has an endpoint; the rest of what kinds could have is not announced."""


class Discovery:
    """Documents made from the table of kinds, cached until the table changes."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._table: tuple[Kind, ...] = ()
        self._cache: dict[tuple[str, ...], Response] = {}

    def answer(self, request: Request, path: str) -> Response | None:
        """The answer to `/api`, `/apis`, or the path of a group or version below them; None if there is none."""
        if self._table is not self._kinds.all:
            self._table, self._cache = self._kinds.all, {}
        version = _aggregated(request) if path in ("/api", "/apis") else ""
        response = self._cache.get((path, version))
        if response is None:
            document = self._aggregate(path, version) if version else self._legacy(path)
            if document is None:
                return None
            response = self._cache[path, version] = _tagged(document, version)
        return _unless_known(request, response)

    # --- legacy

    def _legacy(self, path: str) -> Document | None:
        match path.split("/")[1:]:
            case ["api"]:
                return _core_versions()
            case ["apis"]:
                groups = [self._group(group) for group in self._groups()]
                return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            case ["api", "v1"] if self._kinds.serves("", "v1"):
                return self._resources("", "v1")
            case ["apis", group] if group in self._groups():
                return {"kind": "APIGroup", "apiVersion": "v1", **self._group(group)}
            case ["apis", group, version] if group and self._kinds.serves(group, version):
                return self._resources(group, version)
        return None

    def _groups(self) -> list[str]:
        return list(dict.fromkeys(group for group, _ in self._kinds.group_versions() if group))

    def _versions(self, group: str) -> list[str]:
        return [version for other, version in self._kinds.group_versions() if other == group]

    def _group(self, group: str) -> Document:
        versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in self._versions(group)]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}

    def _resources(self, group: str, version: str) -> Document:
        resources: list[Document] = []
        for kind in self._of(group, version):
            resources += [_legacy_resource(kind), *(_legacy_subresource(kind, name) for name in _subresources(kind))]
        group_version = f"{group}/{version}" if group else version
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}

    def _of(self, group: str, version: str) -> Iterable[Kind]:
        found = [kind for kind in self._kinds.all if (kind.group, kind.version) == (group, version)]
        return sorted(found, key=lambda kind: kind.plural)

    # --- aggregated

    def _aggregate(self, path: str, version: str) -> Document:
        groups = [""] if path == "/api" else self._groups()
        items = [self._aggregated_group(group) for group in groups]
        api_version = f"apidiscovery.k8s.io/{version}"
        return {"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items}

    def _aggregated_group(self, group: str) -> Document:
        versions = [
            {
                "version": version,
                "resources": [_aggregated_resource(kind) for kind in self._of(group, version)],
                "freshness": "Current",
            }
            for version in self._versions(group)
        ]
        name = {"name": group} if group else {}
        return {"metadata": {**name, "creationTimestamp": None}, "versions": versions}


def _core_versions() -> Document:
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.96.0.1:443"}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def _subresources(kind: Kind) -> list[str]:
    return [name for name in sorted(kind.subresources) if name in SERVED_SUBRESOURCES]


def _names(kind: Kind) -> Document:
    short = {"shortNames": list(kind.short_names)} if kind.short_names else {}
    return {**short, **({"categories": list(kind.categories)} if kind.categories else {})}


def _legacy_resource(kind: Kind) -> Document:
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": sorted(kind.verbs),
        **_names(kind),
        "storageVersionHash": _hash(f"{kind.group}/{kind.version}/{kind.kind}"),
    }


def _legacy_subresource(kind: Kind, name: str) -> Document:
    group, version, shown = _subresource_kind(kind, name) or ("", "", kind.kind)
    return {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        **({"group": group} if group else {}),
        **({"version": version} if group else {}),
        "kind": shown,
        "verbs": list(_SUBRESOURCE_VERBS[name]),
    }


def _aggregated_resource(kind: Kind) -> Document:
    subresources = [_aggregated_subresource(kind, name) for name in _subresources(kind)]
    return {
        "resource": kind.plural,
        "responseKind": _gvk(kind.group, kind.version, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
        **_names(kind),
        **({"subresources": subresources} if subresources else {}),
    }


def _aggregated_subresource(kind: Kind, name: str) -> Document:
    gvk = _subresource_kind(kind, name) or (kind.group, kind.version, kind.kind)
    return {"subresource": name, "responseKind": _gvk(*gvk), "verbs": list(_SUBRESOURCE_VERBS[name])}


def _subresource_kind(kind: Kind, name: str) -> tuple[str, str, str] | None:
    """What a subresource takes, where that is not the kind itself."""
    if name == "proxy":
        return "", "v1", f"{kind.kind}ProxyOptions"
    return _SUBRESOURCE_KINDS.get(name)


def _gvk(group: str, version: str, kind: str) -> Document:
    return {"group": group, "version": version, "kind": kind}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _aggregated(request: Request) -> str:
    """The version of the aggregated form that the client prefers over the legacy one, or an empty string."""
    for media_type in alternatives(request.header("accept")):
        parameters = media_type.parameters
        if media_type.name != "application/json":
            continue
        if "as" not in parameters:
            return ""
        if (
            parameters["as"] == "APIGroupDiscoveryList"
            and parameters.get("g") == "apidiscovery.k8s.io"
            and parameters.get("v") in _AGGREGATED_VERSIONS
        ):
            return parameters["v"]
    return ""


def _tagged(document: Document, version: str) -> Response:
    body = msgspec.json.encode(document) + b"\n"
    media = answers.JSON
    if version:
        media += f";g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
    tag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    headers = (("Cache-Control", "no-cache, private"), ("Content-Type", media), ("ETag", tag), ("Vary", "Accept"))
    return Response(200, body, headers)


def _unless_known(request: Request, response: Response) -> Response:
    tag = next(value for name, value in response.headers if name == "ETag")
    if request.header("if-none-match") == tag:
        return Response(304, b"", tuple(pair for pair in response.headers if pair[0] != "Content-Type"))
    return response
