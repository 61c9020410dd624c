"""The chain of every request: identity → permission → endpoint (→ admission → registry → store)."""

from collections.abc import Awaitable, Callable
from time import perf_counter

import msgspec

from fairway.engine.apiserver import errors, telemetry
from fairway.engine.apiserver.authentication import ANONYMOUS, User
from fairway.engine.apiserver.authorization import Attributes, refusal
from fairway.engine.apiserver.endpoints import (
    HEALTH_PROBES,
    SERVED_SUBRESOURCES,
    VERSION,
    Call,
    Discovery,
    Health,
    Issuer,
    LongYaml,
    Objects,
    OpenApi,
    Pods,
    Target,
    answers,
    finer,
    parse_path,
    queries,
    verb_of,
)
from fairway.engine.apiserver.endpoints.queries import Query
from fairway.engine.apiserver.registry import Kinds
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.security import Security
from fairway.engine.apiserver.telemetry import Page, Requests, Series
from fairway.toolkit.http_messages import Reply, Request, Response, Stream, Upgrade

_PATHS = (
    "/api", "/api/v1", "/apis", "/healthz", "/healthz/log", "/healthz/ping", "/livez", "/livez/ping", "/openapi/v3",
    "/metrics", "/metrics/slis", "/readyz", "/readyz/ping", "/version", "/.well-known/openid-configuration",
    "/openid/v1/jwks",
)  # fmt: skip
"""What `/` lists, besides the groups."""

_DOCUMENTS = frozenset({"api", "apis", "metrics", "openapi", "openid", "version", ".well-known", *HEALTH_PROBES})

Special = Callable[[Call], Reply | Awaitable[Reply] | None]
"""Answers what is no object: a review, a token, a measurement; None when the call is about something else."""


class App:
    """Answers requests; failures of clients become Status objects here and nowhere else."""

    def __init__(
        self,
        kinds: Kinds,
        security: Security,
        special: tuple[Special, ...],
        issuer: Issuer,
        objects: Objects,
        pods: Pods,
        discovery: Discovery,
        openapi: OpenApi,
        health: Health,
        requests: Requests,
        telemetry: Page,
    ) -> None:
        self._kinds = kinds
        self._security = security
        self._special = special
        self._issuer = issuer
        self._objects = objects
        self._pods = pods
        self._discovery = discovery
        self._openapi = openapi
        self._health = health
        self._requests = requests
        self._telemetry = telemetry
        self._long_yaml = LongYaml()
        self._series = requests.unknown
        """What the request that is being routed counts as; there is no wait between its routing and its counting."""

    def handle(self, request: Request) -> Reply | Awaitable[Reply]:
        """The handler of the HTTP server."""
        started = perf_counter()
        self._series = self._requests.unknown
        try:
            reply = self._route(request)
        except errors.ApiError as error:
            self._requests.answered(self._series, error.code, started)
            return answers.failure(error)
        series = self._series
        if isinstance(reply, Response):
            self._requests.answered(series, reply.status, started)
            if answers.wants_yaml(request):
                return answers.as_yaml(reply)
            if answers.wants_gzip(request, reply):
                return answers.packed(request, reply)
            return reply
        if isinstance(reply, (Stream, Upgrade)):
            return self._requests.followed(series, reply, started)
        return self._later(request, reply, series, started)

    async def _later(self, request: Request, reply: Awaitable[Reply], series: Series, started: float) -> Reply:
        try:
            made = await self._requests.waited(series, reply)
        except errors.ApiError as error:
            self._requests.answered(series, error.code, started)
            return answers.failure(error)
        if not isinstance(made, Response):
            return self._requests.followed(series, made, started)
        self._requests.answered(series, made.status, started)
        return await (answers.as_yaml(made) if answers.wants_yaml(request) else answers.packed(request, made))

    def _route(self, request: Request) -> Reply | Awaitable[Reply]:
        query = queries.parse(request.query)
        target = parse_path(request.path)
        if target is None or not target.plural:
            return self._document(request, query)
        return self._resource(request, target, query)

    # --- objects

    def _resource(self, request: Request, target: Target, query: Query) -> Reply | Awaitable[Reply]:
        verb = verb_of(request.method, target, query)
        kind = self._kinds.find(target.group, target.version, target.plural)
        if kind is not None and not _fits(kind, target):
            kind = None
        if kind is not None:
            self._series = self._requests.of(
                kind, _counted(verb, request), target.subresource, _scope(target), dry_run=query.get("dryRun") == "All"
            )
        user = self._security.user(request)
        self._authorize(_attributes(user, verb, request, target, query), finer(target, verb, request.path))
        if kind is None:
            return answers.page_not_found()
        if not verb:
            raise errors.method_not_allowed()
        call = Call(request, _own_namespace(kind, target), kind, verb, query, user)
        if verb == "update" and kind.create_on_update and self._objects.would_create(call):
            self._authorize(_attributes(user, "create", request, target, query))
        passed_on = target.subresource == "proxy"
        return self._in_json(call) if not passed_on and self._long_yaml.holds(request) else self._answer(call)

    async def _in_json(self, call: Call) -> Reply:
        reply = self._answer(msgspec.structs.replace(call, request=await self._long_yaml.in_json(call.request)))
        return await reply if isinstance(reply, Awaitable) else reply

    def _answer(self, call: Call) -> Reply | Awaitable[Reply]:
        kind, target = call.kind, call.target
        if target.subresource and kind.plural == "pods":
            reply = self._pods.answer(call)
            if reply is not None:
                return reply
        if target.subresource or not kind.list_kind or not kind.stored:
            for answer in self._special:
                reply = answer(call)
                if reply is not None:
                    return reply
        return self._objects.answer(call)

    def _authorize(self, attributes: Attributes, finer: str = "") -> None:
        """Raises ApiError 401 and 403. `finer` is another subresource that is enough."""
        allows = self._security.authority.allows
        if allows(attributes) or (finer and allows(msgspec.structs.replace(attributes, subresource=finer))):
            return
        if attributes.user == ANONYMOUS:
            raise errors.unauthorized()
        why = refusal(attributes, self._security.authority.decide(attributes).reason)
        if not attributes.resource:
            raise errors.ApiError(403, "Forbidden", f"forbidden: {why}", {})
        raise errors.forbidden(errors.Subject(attributes.group, attributes.resource, attributes.name), why)

    # --- everything else

    def _document(self, request: Request, query: Query) -> Reply | Awaitable[Reply]:
        path = request.path.rstrip("/") or "/"
        first = path.split("/")[1]
        if first in _DOCUMENTS:
            self._series = self._requests.of_document(f"/{first}", request.method)
        self._authorize(_path_attributes(self._security.user(request), request))
        if request.method not in ("GET", "HEAD"):
            raise errors.method_not_allowed()
        if path.startswith("/openapi"):
            return self._schema(request, path, query)
        return self._read(request, path, query) or answers.page_not_found()

    async def _schema(self, request: Request, path: str, query: Query) -> Reply:
        return await self._openapi.answer(request, path, query) or answers.page_not_found()

    def _read(self, request: Request, path: str, query: Query) -> Response | None:
        first = path.split("/")[1]
        if first in HEALTH_PROBES:
            return self._health.answer(path, query)
        match first:
            case "":
                groups = [f"/apis/{group}/{version}" for group, version in self._kinds.group_versions() if group]
                return answers.value({"paths": sorted((*_PATHS, *groups))})
            case "api" | "apis":
                return self._discovery.answer(request, path)
            case "version":
                return answers.value(VERSION) if path == "/version" else None
            case "metrics":
                return self._measured(path)
            case ".well-known" | "openid":
                return self._issuer.answer(path)
        return None

    def _measured(self, path: str) -> Response | None:
        match path:
            case "/metrics":
                return answers.text(self._telemetry.metrics(), media_type=telemetry.CONTENT_TYPE)
            case "/metrics/slis":
                return answers.text(self._telemetry.health(), media_type=telemetry.CONTENT_TYPE)
        return None


def _counted(verb: str, request: Request) -> str:
    """The verb by which a request is counted: an apply is one of its own."""
    applies = verb == "patch" and request.header("content-type").startswith("application/apply-patch")
    return "apply" if applies else verb


def _scope(target: Target) -> str:
    if target.name:
        return "resource"
    return "cluster" if target.namespace is None else "namespace"


def attributes_of(request: Request, user: User) -> Attributes:
    """What a request wants to do, for those who look at it from outside."""
    target = parse_path(request.path)
    if target is None or not target.plural:
        return _path_attributes(user, request)
    query = queries.parse(request.query)
    return _attributes(user, verb_of(request.method, target, query), request, target, query)


def _attributes(user: User, verb: str, request: Request, target: Target, query: Query) -> Attributes:
    return Attributes(
        user,
        verb,
        request.path,
        target.group,
        target.version,
        target.plural,
        target.subresource,
        target.namespace or _own_scope(target),
        target.name or queries.exact_name(query),
    )


def _path_attributes(user: User, request: Request) -> Attributes:
    verb = request.method.lower()
    return Attributes(user, "get" if verb == "head" else verb, request.path)


def _own_scope(target: Target) -> str:
    """A Namespace counts as inside itself, so that its owners may be allowed to read it."""
    return target.name if target.plural == "namespaces" and not target.group else ""


def _fits(kind: Kind, target: Target) -> bool:
    """Whether the URL has the shape of this kind's URLs."""
    if target.rest or (target.subresource and target.subresource not in kind.subresources):
        return False
    if target.subresource and target.subresource not in SERVED_SUBRESOURCES:
        return False
    if kind.namespaced:
        return target.namespace is not None or not target.name
    return target.namespace is None


def _own_namespace(kind: Kind, target: Target) -> Target:
    """Cluster-wide objects are stored under an empty namespace."""
    return target if kind.namespaced else msgspec.structs.replace(target, namespace="")
