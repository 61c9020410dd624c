"""The verbs of a Kubernetes API over one HTTP client."""

from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any
from urllib.parse import urlencode

import msgspec

from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import PODS, Resource
from fairway.kube.client.discovery import Served, served_of
from fairway.kube.client.errors import Unreachable, from_body, from_status
from fairway.toolkit.http_client import HttpClient, HttpError, Response

Raw = dict[str, Any]
Patch = Mapping[str, Any] | list[Any]
_WATCH_SECONDS = 300
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class PatchType(Enum):
    """How a patch is to be read."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class ListResult(msgspec.Struct, frozen=True):
    """The objects of a collection and the revision they were read at."""

    items: tuple[Raw, ...]
    resource_version: str


class WatchEvent(msgspec.Struct, frozen=True):
    """ADDED, MODIFIED, DELETED or BOOKMARK, and the object."""

    type: str
    object: Raw


class ApiClient:
    """Raw JSON in and out; rooms convert to nouns where they read.

    Every method raises ApiError (see errors.py) for an answer that is a Status, and Unreachable when none came.
    """

    def __init__(self, http: HttpClient) -> None:
        self._http = http

    async def get(self, resource: Resource, name: str, namespace: str = "", *, subresource: str = "") -> Raw:
        """One object, or what a subresource such as `scale` shows of it."""
        return await self._call("GET", resource.path(namespace, name, subresource))

    async def discover(self) -> tuple[Served, ...]:
        """Every kind that the API serves now, in each of its versions; the preferred version of a group comes first."""
        found: list[Served] = []
        for path in ("/api", "/apis"):
            document = await self._call("GET", path, accept=_DISCOVERY)
            for group in document.get("items") or ():
                found += served_of(group)
        return tuple(found)

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> ListResult:
        """All objects of a namespace, or of the whole cluster when none is given."""
        query = _query(labelSelector=labels, fieldSelector=fields)
        raw = await self._call(
            "GET", resource.path(namespace) + query, accept=_METADATA_LIST if metadata_only else _JSON
        )
        kind = {"apiVersion": raw.get("apiVersion", ""), "kind": str(raw.get("kind", "")).removesuffix("List")}
        items = tuple({**kind, **item} for item in raw.get("items") or ())
        return ListResult(items, raw["metadata"].get("resourceVersion", ""))

    async def watch(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        resource_version: str,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Changes after a revision, until the API ends the stream (about five minutes); bookmarks are included.

        Raises Gone when the revision is too old.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=str(_WATCH_SECONDS),
            labelSelector=labels,
            fieldSelector=fields,
        )
        accept = _METADATA if metadata_only else _JSON
        response = await self._request("GET", resource.path(namespace) + query, accept=accept, dedicated=True)
        async with response:
            try:
                async for line in response.iter_lines():
                    if line:
                        yield _event(line)
            except HttpError as error:
                raise Unreachable(str(error)) from error

    async def log(
        self,
        name: str,
        namespace: str,
        *,
        container: str = "",
        follow: bool = False,
        previous: bool = False,
        tail_lines: int | None = None,
    ) -> AsyncIterator[bytes]:
        """What a container of a pod has written, piece by piece; with `follow` until it ends."""
        query = _query(
            container=container,
            follow="true" if follow else "",
            previous="true" if previous else "",
            tailLines="" if tail_lines is None else str(tail_lines),
        )
        response = await self._request("GET", PODS.path(namespace, name, "log") + query, accept="*/*", dedicated=True)
        async with response:
            try:
                async for piece in response.iter_bytes():
                    yield piece
            except HttpError as error:
                raise Unreachable(str(error)) from error

    async def create(self, resource: Resource, obj: Mapping[str, Any], *, namespace: str = "") -> Raw:
        """A new object; its namespace is taken from its metadata when none is given."""
        return await self._call("POST", resource.path(namespace or _key(obj).namespace), obj)

    async def create_subresource(
        self, resource: Resource, name: str, subresource: str, obj: Mapping[str, Any], *, namespace: str = ""
    ) -> Raw:
        """A binding, an eviction, a token request."""
        return await self._call("POST", resource.path(namespace, name, subresource), obj)

    async def update(self, resource: Resource, obj: Mapping[str, Any], *, subresource: str = "") -> Raw:
        """Replace an object; its metadata.resourceVersion must be the one that was read."""
        key = _key(obj)
        return await self._call("PUT", resource.path(key.namespace, key.name, subresource), obj)

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: Patch,
        *,
        namespace: str = "",
        subresource: str = "",
        type: PatchType = PatchType.MERGE,
    ) -> Raw:
        """Change parts of an object."""
        path = resource.path(namespace, name, subresource)
        return await self._call("PATCH", path, patch, content_type=type.value)

    async def apply(
        self,
        resource: Resource,
        obj: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = True,
        dry_run: bool = False,
        subresource: str = "",
    ) -> Raw:
        """Server-side apply; with `dry_run` only the answer to it, which changes nothing."""
        key = _key(obj)
        query = _query(fieldManager=field_manager, force="true" if force else "false", dryRun="All" if dry_run else "")
        path = resource.path(key.namespace, key.name, subresource)
        return await self._call("PATCH", path + query, obj, content_type=PatchType.APPLY.value)

    async def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str = "",
        uid: str = "",
        resource_version: str = "",
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
    ) -> None:
        """Delete an object; with `uid` or `resource_version` only if it is still that one."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options: Raw = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {key: value for key, value in preconditions.items() if value} or None,
            "gracePeriodSeconds": grace_period_seconds,
            "propagationPolicy": propagation_policy,
        }
        present = {key: value for key, value in options.items() if value is not None}
        await self._call("DELETE", resource.path(namespace, name), present)

    async def _call(
        self, method: str, target: str, body: Patch | None = None, *, content_type: str = _JSON, accept: str = _JSON
    ) -> Raw:
        data = None if body is None else msgspec.json.encode(body)
        response = await self._request(method, target, data, content_type, accept=accept)
        try:
            raw: Raw = msgspec.json.decode(await response.read())
        except HttpError as error:
            raise Unreachable(str(error)) from error
        return raw

    async def _request(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        content_type: str = _JSON,
        *,
        accept: str = _JSON,
        dedicated: bool = False,
    ) -> Response:
        headers = [("Accept", accept)]
        if body is not None:
            headers.append(("Content-Type", content_type))
        try:
            response = await self._http.request(method, target, headers=headers, body=body, dedicated=dedicated)
            if response.status < 400:
                return response
            answer = await response.read()
        except HttpError as error:
            raise Unreachable(str(error)) from error
        raise from_body(response.status, answer)


def _key(obj: Mapping[str, Any]) -> ObjectKey:
    metadata = obj.get("metadata") or {}
    return ObjectKey(metadata.get("namespace", ""), metadata.get("name", ""))


def _query(**parameters: str) -> str:
    present = {key: value for key, value in parameters.items() if value}
    return f"?{urlencode(present)}" if present else ""


def _event(line: bytes) -> WatchEvent:
    event = msgspec.json.decode(line)
    if event["type"] == "ERROR":
        raise from_status(int(event["object"].get("code", 500)), event["object"])
    return WatchEvent(event["type"], event["object"])
