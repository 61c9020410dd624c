"""What only pods have: binding to a node, eviction, logs and streams from the kubelet."""

from collections.abc import Awaitable
from pathlib import Path
from urllib.parse import quote, urlencode

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints import answers, evictions, log_options, payloads, queries
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.endpoints.pod_containers import container_of
from fairway.engine.apiserver.endpoints.streams import STREAMS, Streams
from fairway.engine.apiserver.registry import Decoded, DeleteOptions, Registry, WriteOptions, decode, subject_of
from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.core_views import BINDINGS, EVICTIONS
from fairway.engine.apiserver.resources.pods import PODS
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import HttpClient, HttpError, Response, unix_connector
from fairway.toolkit.http_messages import Reply, Sink, Stream

_LOG_PARAMETERS = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes")
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

    def answer_binding(self, call: Call) -> Awaitable[Reply] | None:
        """The oldest way to bind a pod: a Binding of its name, posted to the namespace."""
        if call.kind is not BINDINGS:
            return None
        if call.verb != "create" or call.target.name:
            raise errors.method_not_allowed()
        if call.target.namespace is None:
            raise errors.bad_request("an empty namespace may not be set during creation")
        return self._bind(call)

    # --- binding

    async def _bind(self, call: Call) -> Reply:
        """Through `pods/x/binding` the URL names the pod; through `bindings` the Binding does."""
        options = queries.write_options(call.query, call.user, call.request.header("user-agent"), creates=True)
        decoded = self._binding(call, options)
        binding = decoded.obj
        given = str((binding.get("metadata") or {}).get("name") or "")
        name = call.target.name or given
        if given and given != name:
            raise errors.bad_request("name in URL does not match name in Binding object")
        old = self._registry.latest(PODS, call.namespace, name)
        pod = old.object()
        _check_unbound(name, pod, binding)
        pod.setdefault("spec", {})["nodeName"] = str(binding["target"]["name"])
        annotations = (binding.get("metadata") or {}).get("annotations")
        if annotations:
            pod["metadata"].setdefault("annotations", {}).update(annotations)
        _set_scheduled(pod, timestamp(self._clock.now()))
        await self._registry.modify(PODS, old, pod, options, "binding")
        return answers.value(errors.success(code=201), 201, decoded.warnings)

    def _binding(self, call: Call, options: WriteOptions) -> Decoded:
        """The Binding in the body, checked (core/v1 ValidatePodBinding). Raises ApiError."""
        body = payloads.read(None, call.request, options.field_validation)
        decoded = decode(BINDINGS, self._registry.kinds.type(BINDINGS), body, options.field_validation)
        target = decoded.obj.get("target") or {}
        found = []
        if target.get("kind") not in (None, "", "Node"):
            found.append(causes.unsupported("target.kind", target["kind"], ("Node", "<empty>")))
        if not target.get("name"):
            found.append(causes.required("target.name"))
        if found:
            name = call.target.name or str(decoded.obj["metadata"].get("name") or "")
            raise errors.invalid(subject_of(BINDINGS, name), found)
        return decoded

    # --- eviction

    async def _evict(self, call: Call) -> Reply:
        """A delete with a body of another kind, which the pod's disruption budget pays for."""
        writing = queries.write_options(call.query, call.user, call.request.header("user-agent"), creates=True)
        decoded = self._eviction(call, writing)
        eviction = decoded.obj
        name = (eviction.get("metadata") or {}).get("name") or call.target.name
        if name != call.target.name:
            raise errors.bad_request("name in URL does not match name in Eviction object")
        options = queries.delete_options(call.query, eviction.get("deleteOptions"), call.user)
        options, writing = _both_dry(options, writing)
        pod = self._registry.latest(call.kind, call.namespace, name).object()
        await evictions.charge(self._registry, pod, writing, self._clock.now())
        await self._registry.delete(call.kind, call.namespace, name, options)
        return answers.value(errors.success(code=201), 201, decoded.warnings)

    def _eviction(self, call: Call, options: WriteOptions) -> Decoded:
        """The Eviction in the body, of any version that ever was. Raises ApiError 400."""
        body = payloads.read(EVICTIONS, call.request, options.field_validation)
        older = isinstance(body.value, dict) and body.value.get("apiVersion") == "policy/v1beta1"
        if older:
            body = msgspec.structs.replace(body, value={**body.value, "apiVersion": EVICTIONS.api_version})
        return decode(EVICTIONS, self._registry.kinds.type(EVICTIONS), body, options.field_validation)

    # --- logs

    async def _log(self, call: Call) -> Reply:
        log_options.check(call.query, call.target.name)
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


def _set_scheduled(pod: Object, now: str) -> None:
    conditions = pod.setdefault("status", {}).setdefault("conditions", [])
    kept = [condition for condition in conditions if condition.get("type") != "PodScheduled"]
    scheduled = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now}
    pod["status"]["conditions"] = [*kept, scheduled]


def _check_unbound(name: str, pod: Object, binding: Object) -> None:
    metadata = pod["metadata"]
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
