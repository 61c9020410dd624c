"""The verbs on objects and collections, and the subresources status, scale and finalize."""

from collections.abc import Awaitable

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints import answers, encoding, forms, lists, payloads, queries
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.endpoints.watches import Watch
from fairway.engine.apiserver.registry import (
    Filter,
    Registry,
    Result,
    WriteOptions,
    filters,
    resource_of,
    scale,
    subject_of,
    versions,
)
from fairway.engine.apiserver.registry.filters import FieldTerm
from fairway.engine.apiserver.store import Entry, Key
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Reply, Response

_VIEWS = ("", "status", "scale", "finalize", "ephemeralcontainers", "approval", "resize")


class Objects:
    """Answers calls; reads are answered at once, writes when they are durable."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def would_create(self, call: Call) -> bool:
        """Whether an update creates its object, which takes a permission of its own."""
        if call.target.subresource:
            return False
        return self._registry.store.latest(Key(resource_of(call.kind), call.namespace, call.target.name)) is None

    def answer(self, call: Call) -> Reply | Awaitable[Reply]:
        """Raises ApiError, as do the awaitables."""
        if call.target.subresource not in _VIEWS:
            raise errors.no_resource()
        if not call.target.subresource and call.verb not in call.kind.verbs:
            raise errors.method_not_allowed()
        match call.verb:
            case "get":
                return self._get(call)
            case "list":
                return self._list(call)
            case "watch":
                return self._watch(call)
            case "create":
                return self._create(call)
            case "update":
                return self._update(call)
            case "patch":
                return self._patch(call)
            case "delete":
                return self._delete(call)
            case "deletecollection":
                return self._delete_all(call)
        raise errors.method_not_allowed()

    # --- reading

    def _get(self, call: Call) -> Reply | Awaitable[Reply]:
        wanted = queries.revision(call.query) if call.query else None
        if wanted and wanted > self._registry.store.revision:
            return self._get_later(call, wanted)
        return self._show(call, self._registry.get(call.kind, call.namespace, call.target.name))

    async def _get_later(self, call: Call, revision: int) -> Reply:
        await lists.fresh(self._registry.store, revision)
        return self._show(call, self._registry.get(call.kind, call.namespace, call.target.name))

    def _list(self, call: Call) -> Reply | Awaitable[Reply]:
        options = queries.list_options(call.query)
        if options.revision and options.revision > self._registry.store.revision:
            return self._list_later(call, options)
        return self._page(call, options)

    async def _list_later(self, call: Call, options: queries.ListOptions) -> Reply:
        await lists.fresh(self._registry.store, options.revision or 0)
        return self._page(call, options)

    def _page(self, call: Call, options: queries.ListOptions) -> Response:
        form = self._form(call)
        wanted = filters.parse(call.kind, options.labels, options.fields)
        page = self._named(call, wanted, options) or lists.page(
            self._registry, call.kind, call.target.namespace, wanted, options
        )
        return answers.json(encoding.many(call.kind, page.entries, form, page.meta, self._clock.now()))

    def _named(self, call: Call, wanted: Filter, options: queries.ListOptions) -> lists.Page | None:
        """`metadata.name=x` in one namespace, as kubectl asks for while it waits, needs no search."""
        plain = not options.continue_ and options.match != "Exact"
        namespace = call.target.namespace if call.kind.namespaced else ""
        if not wanted.name or namespace is None or not plain:
            return None
        store = self._registry.store
        entry = store.get(Key(resource_of(call.kind), namespace, wanted.name))
        found = [entry] if entry is not None and wanted.matches(call.kind, entry) else []
        return lists.Page(found, encoding.ListMeta(str(store.revision)))

    def _watch(self, call: Call) -> Reply:
        options = queries.list_options({**call.query, "watch": "1"})
        wanted = filters.parse(call.kind, options.labels, options.fields)
        if call.target.name:
            term = FieldTerm("metadata.name", call.target.name)
            wanted = msgspec.structs.replace(wanted, fields=(*wanted.fields, term))
        form = self._form(call)
        watch = Watch(self._registry, call.kind, call.target.namespace, wanted, options, form, self._clock)
        return watch.stream()

    # --- writing

    async def _create(self, call: Call) -> Reply:
        if call.target.subresource:
            raise errors.method_not_allowed()
        options = self._options(call)
        form = self._form(call)
        body = payloads.read(call.kind, call.request, options.field_validation)
        namespace = self._namespace(call)
        return self._answer(
            call, form, await self._registry.create(call.kind, namespace, body, options, call.target.name)
        )

    async def _update(self, call: Call) -> Reply:
        self._require_name(call)
        options, form = self._options(call), self._form(call)
        target = call.target
        kind = None if target.subresource == "scale" else call.kind
        body = payloads.read(kind, call.request, options.field_validation)
        result = await self._registry.update(call.kind, call.namespace, target.name, body, options, target.subresource)
        return self._answer(call, form, result)

    async def _patch(self, call: Call) -> Reply:
        self._require_name(call)
        how = payloads.patch_type(call.request, call.kind)
        options = queries.write_options(call.query, call.user, call.request.header("user-agent"), how)
        form, target = self._form(call), call.target
        body = payloads.read_patch(call.request, how, options.field_validation)
        result = await self._registry.patch(
            call.kind, call.namespace, target.name, how, body, options, target.subresource
        )
        return self._answer(call, form, result)

    async def _delete(self, call: Call) -> Reply:
        if call.target.subresource:
            raise errors.method_not_allowed()
        form = self._form(call)
        options = queries.delete_options(call.query, payloads.read_optional(call.request), call.user)
        entry, gone = await self._registry.delete(call.kind, call.namespace, call.target.name, options)
        if not gone or call.kind.delete_returns_object:
            return self._show(call, entry, form)
        details = {**subject_of(call.kind, call.target.name).details(), "uid": entry.uid}
        return answers.value(errors.success(details))

    async def _delete_all(self, call: Call) -> Reply:
        form, listing = self._form(call), queries.list_options(call.query)
        wanted = filters.parse(call.kind, listing.labels, listing.fields)
        options = queries.delete_options(call.query, payloads.read_optional(call.request), call.user)
        entries = await self._registry.delete_all(call.kind, call.target.namespace, wanted, options)
        meta = encoding.ListMeta(str(self._registry.store.revision))
        return answers.json(encoding.many(call.kind, entries, form, meta, self._clock.now()))

    # --- parts

    def _form(self, call: Call) -> forms.Form:
        return forms.negotiate(call.request.header("accept"), call.query.get("includeObject", ""))

    def _options(self, call: Call) -> WriteOptions:
        creates = call.verb == "create"
        return queries.write_options(call.query, call.user, call.request.header("user-agent"), creates=creates)

    def _namespace(self, call: Call) -> str:
        """Where something is created. Raises ApiError."""
        if call.kind.namespaced and call.target.namespace is None:
            raise errors.bad_request("an empty namespace may not be set during creation")
        return call.namespace

    def _require_name(self, call: Call) -> None:
        if not call.target.name:
            raise errors.method_not_allowed()

    def _answer(self, call: Call, form: forms.Form, result: Result) -> Response:
        response = self._show(call, result.entry, form, 201 if result.created else 200)
        if not result.warnings:
            return response
        return answers.json(response.body, response.status, result.warnings)

    def _show(self, call: Call, entry: Entry, form: forms.Form | None = None, status: int = 200) -> Response:
        if call.target.subresource == "scale":
            return answers.value(scale.scale_of(versions.current(call.kind, entry), call.kind.scale_paths), status)
        form = form or self._form(call)
        body = encoding.one(call.kind, entry, form, self._clock.now())
        return answers.json(body + b"\n", status)
