"""What only pods have: binding to a node, eviction, logs and streams from the kubelet."""

from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints import answers, evictions, payloads, queries
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.endpoints.pod_containers import container_of
from fairway.engine.apiserver.endpoints.streams import STREAMS, Streams
from fairway.engine.apiserver.registry import DeleteOptions, Registry, WriteOptions, subject_of
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import HttpClient, HttpError, Response, unix_connector
from fairway.toolkit.http_messages import Reply, Sink, Stream

_LOG_PARAMETERS = (
    "follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"
)  # fmt: skip
_KUBELET_SECONDS = 30.0


class Pods:
    """Answers calls to subresources of pods."""

    def __init__(self, registry: Registry, clock: Clock, kubelet_socket: Path) -> None:
        self._registry = registry
        self._clock = clock
        self._kubelet_socket = kubelet_socket
        self._streams = Streams(registry, kubelet_socket)

    def answer(self, call: Call) -> Reply | Awaitable[Reply] | None:
        """None when the subresource is not one of those. Raises ApiError, as do the awaitables."""
        match call.target.subresource, call.verb:
            case "binding", "create":
                return self._bind(call)
            case "eviction", "create":
                return self._evict(call)
            case "log", "get":
                return self._log(call)
            case subresource, "get" | "create" if subresource in STREAMS:
                return self._streams.answer(call)
            case (("binding" | "eviction" | "log" | "exec" | "attach" | "portforward"), _):
                raise errors.method_not_allowed()
        return None

    # --- binding

    async def _bind(self, call: Call) -> Reply:
        options = queries.write_options(call.query, call.user, call.request.header("user-agent"))
        binding = _object(payloads.read(None, call.request).value, "Binding")
        node = str((binding.get("target") or {}).get("name") or "")
        if not node:
            raise errors.bad_request('Binding "" is invalid: target.name: Required value')
        old = self._registry.latest(call.kind, call.namespace, call.target.name)
        pod = old.object()
        self._check_unbound(call, pod, binding)
        pod.setdefault("spec", {})["nodeName"] = node
        annotations = (binding.get("metadata") or {}).get("annotations")
        if annotations:
            pod["metadata"].setdefault("annotations", {}).update(annotations)
        _set_scheduled(pod, timestamp(self._clock.now()))
        await self._registry.modify(call.kind, old, pod, options, "binding")
        return answers.value(errors.success(code=201), 201)

    def _check_unbound(self, call: Call, pod: Object, binding: Object) -> None:
        name, metadata = call.target.name, pod["metadata"]
        subject = errors.Subject("", "pods/binding", name, "Binding")
        wanted_uid = (binding.get("metadata") or {}).get("uid")
        if wanted_uid and wanted_uid != metadata["uid"]:
            why = f"Precondition failed: UID in precondition: {wanted_uid}, UID in object meta: {metadata['uid']}"
            raise errors.conflict(subject, why)
        if metadata.get("deletionTimestamp"):
            raise errors.conflict(subject, f"pod {name} is being deleted, cannot be assigned to a host")
        assigned = (pod.get("spec") or {}).get("nodeName")
        if assigned:
            raise errors.conflict(subject, f'pod {name} is already assigned to node "{assigned}"')
        if (pod.get("spec") or {}).get("schedulingGates"):
            raise errors.conflict(subject, f"pod {name} has non-empty .spec.schedulingGates")

    # --- eviction

    async def _evict(self, call: Call) -> Reply:
        """A delete with a body of another kind, which the pod's disruption budget pays for."""
        eviction = _object(payloads.read(None, call.request).value, "Eviction")
        name = (eviction.get("metadata") or {}).get("name") or call.target.name
        if name != call.target.name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
        options = queries.delete_options(call.query, eviction.get("deleteOptions"), call.user)
        writing = queries.write_options(call.query, call.user, call.request.header("user-agent"))
        options, writing = _both_dry(options, writing)
        pod = self._registry.latest(call.kind, call.namespace, name).object()
        await evictions.charge(self._registry, pod, writing, self._clock.now())
        await self._registry.delete(call.kind, call.namespace, name, options)
        return answers.value(errors.success(code=201), 201)

    # --- logs

    async def _log(self, call: Call) -> Reply:
        entry = self._registry.get(call.kind, call.namespace, call.target.name)
        pod = entry.object()
        container = container_of(pod, call.query.get("container", ""))
        if not (pod.get("spec") or {}).get("nodeName"):
            return answers.text("")
        query = urlencode([(key, call.query[key]) for key in _LOG_PARAMETERS if key in call.query])
        place = "/".join(quote(part, safe="") for part in (call.namespace, call.target.name, container))
        client = HttpClient(unix_connector(self._kubelet_socket), host_header="kubelet")
        try:
            response = await client.request(
                "GET", f"/containerLogs/{place}?{query}", timeout_seconds=_KUBELET_SECONDS, dedicated=True
            )
            return await self._relay(call, client, response)
        except HttpError as error:
            await client.aclose()
            node = pod["spec"]["nodeName"]
            raise errors.internal(f'cannot read logs from the kubelet of node "{node}": {error}') from error

    async def _relay(self, call: Call, client: HttpClient, response: Response) -> Reply:
        if response.status != 200:
            text = (await response.read()).decode("utf-8", "replace").strip()
            await client.aclose()
            if response.status == 404:
                raise errors.not_found(subject_of(call.kind, call.target.name))
            if response.status < 500:
                raise errors.bad_request(text)
            raise errors.internal(text)

        async def run(sink: Sink) -> None:
            try:
                async for piece in response.iter_bytes():
                    sink.write(piece)
                    await sink.drain()
            except HttpError:
                sink.abort()  # the client sees that the log was cut off
            finally:
                await client.aclose()

        return Stream(200, run, (("Cache-Control", "no-cache, private"), ("Content-Type", "text/plain")))


def _both_dry(deleting: DeleteOptions, writing: WriteOptions) -> tuple[DeleteOptions, WriteOptions]:
    """A dry run that either the request or its DeleteOptions ask for is one for the budget, too."""
    if not (deleting.dry_run or writing.dry_run):
        return deleting, writing
    replace = msgspec.structs.replace
    return replace(deleting, dry_run=True), replace(writing, dry_run=True)


def _object(value: Any, kind: str) -> Object:
    if not isinstance(value, dict):
        raise errors.bad_request(f"the body is not a {kind}")
    return value


def _set_scheduled(pod: Object, now: str) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    kept = [condition for condition in conditions if condition.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    pod["status"]["conditions"] = [*kept, scheduled]
