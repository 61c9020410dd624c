"""PodMetrics and NodeMetrics: the kubelet's numbers for the pods and nodes that match."""

from collections.abc import Awaitable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints import answers, encoding, forms, queries
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.registry import Registry, filters, resource_of, subject_of
from fairway.engine.apiserver.resources.metrics import NODE_METRICS, POD_METRICS
from fairway.engine.apiserver.store import Entry, Key
from fairway.engine.apiserver.store.entries import Object
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import HttpClient, HttpError, unix_connector
from fairway.toolkit.http_messages import Reply

_KUBELET_SECONDS = 10.0


class Metrics:
    """Answers calls to the kinds of metrics.k8s.io."""

    def __init__(self, registry: Registry, clock: Clock, kubelet_socket: Path) -> None:
        self._registry = registry
        self._clock = clock
        self._kubelet_socket = kubelet_socket

    def answer(self, call: Call) -> Awaitable[Reply] | None:
        """None when the kind is not one of those. Raises ApiError, as does the awaitable."""
        if call.kind is not POD_METRICS and call.kind is not NODE_METRICS:
            return None
        if call.verb not in call.kind.verbs:
            raise errors.method_not_allowed()
        return self._read(call)

    async def _read(self, call: Call) -> Reply:
        form = forms.negotiate(call.request.header("accept"), call.query.get("includeObject", ""))
        of = self._registry.kinds.find("", "v1", call.kind.plural)
        assert of is not None
        name = call.target.name
        if name:
            self._registry.get(of, call.namespace, name)
        options = queries.list_options({} if name else call.query)
        wanted = filters.parse(of, options.labels, options.fields)
        known = {entry.key[1:]: entry for entry in self._registry.select(of, call.target.namespace, wanted)}
        report = await self._report()
        found = _pods(call, report, known) if call.kind is POD_METRICS else _nodes(call, report, known)
        entries = [entry for entry in found if not name or entry.key.name == name]
        now = self._clock.now()
        if not name:
            return answers.json(encoding.many(call.kind, entries, form, encoding.ListMeta(""), now))
        if not entries:
            raise errors.not_found(subject_of(call.kind, f"{call.namespace}/{name}".lstrip("/")))
        return answers.json(encoding.one(call.kind, entries[0], form, now) + b"\n")

    async def _report(self) -> Any:
        async with HttpClient(unix_connector(self._kubelet_socket), host_header="kubelet") as client:
            try:
                response = await client.request("GET", "/stats", timeout_seconds=_KUBELET_SECONDS)
                return msgspec.json.decode(await response.read())
            except (HttpError, msgspec.DecodeError) as error:
                raise errors.unavailable(f"cannot read metrics from the kubelet: {error}") from error


Known = dict[tuple[str, str], Entry]


def _pods(call: Call, report: Any, known: Known) -> Iterable[Entry]:
    for pod in report["pods"]:
        owner = known.get((pod["namespace"], pod["name"]))
        if owner is not None:
            yield _entry(call, owner, report, {"containers": pod["containers"]})


def _nodes(call: Call, report: Any, known: Known) -> Iterable[Entry]:
    """There is one node, and its kubelet is the one that was asked."""
    return (_entry(call, owner, report, {"usage": report["node"]}) for owner in known.values())


def _entry(call: Call, owner: Entry, report: Any, fields: Object) -> Entry:
    key = owner.key
    metadata = {
        "name": key.name,
        **({"namespace": key.namespace} if key.namespace else {}),
        "creationTimestamp": report["timestamp"],
        **({"labels": dict(owner.labels)} if owner.labels else {}),
    }
    head = {"kind": call.kind.kind, "apiVersion": call.kind.api_version, "metadata": metadata}
    body = {**head, "timestamp": report["timestamp"], "window": report["window"], **fields}
    return Entry(Key(resource_of(call.kind), key.namespace, key.name), owner.revision, msgspec.json.encode(body))
