"""The API server as one thing that starts and stops."""

import asyncio
import gc
import socket
from collections.abc import Iterable
from functools import partial
from ipaddress import IPv4Network
from pathlib import Path

import msgspec

from fairway.engine.apiserver import admission, audit, errors, expiry, schema
from fairway.engine.apiserver.app import App, attributes_of
from fairway.engine.apiserver.audit import Audit, Audited, AuditFile, Users
from fairway.engine.apiserver.authentication import LOCAL_LISTENER
from fairway.engine.apiserver.authorization import bootstrap as roles
from fairway.engine.apiserver.bootstrap import Address, bootstrap, keep
from fairway.engine.apiserver.codec import protobuf
from fairway.engine.apiserver.default_accounts import DefaultAccounts
from fairway.engine.apiserver.endpoints import (
    VERSION,
    Accounts,
    ComponentStatuses,
    Discovery,
    Health,
    Issuer,
    Metrics,
    Objects,
    OpenApi,
    Pods,
    Proxies,
    Reviews,
    answers,
)
from fairway.engine.apiserver.endpoints.health import Check
from fairway.engine.apiserver.registry import Definitions, Kinds, Registry, ServiceAllocator
from fairway.engine.apiserver.resources import KINDS, Kind
from fairway.engine.apiserver.roles_writer import RolesWriter
from fairway.engine.apiserver.security import Security
from fairway.engine.apiserver.security import security as secure
from fairway.engine.apiserver.signing import Authority, Signing
from fairway.engine.apiserver.store import Broken, MemoryStore, SqliteStore, Store
from fairway.engine.apiserver.telemetry import Page, Requests
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock, SystemClock
from fairway.toolkit.http_messages import Handler, Limits, Response
from fairway.toolkit.http_server import HttpServer, server_tls

log = logs.get("apiserver")

_RELEASE = {
    "major": VERSION["major"],
    "minor": VERSION["minor"],
    "git_version": VERSION["gitVersion"],
    "compiler": VERSION["compiler"],
    "platform": VERSION["platform"],
}
BODY_BYTES_MAX = 3 * 1024 * 1024


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """`state_dir` None keeps everything in memory. TLS needs the three paths as soon as there is a TLS socket.

    `advertise_host` and `advertise_port` are where pods find the API behind its Service.
    """

    state_dir: Path | None
    unix_socket: Path
    kubelet_socket: Path
    tls_socket: socket.socket | None = None
    more_tls_sockets: tuple[socket.socket, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    client_ca_key: Path | None = None
    """With it, approved CertificateSigningRequests of clients are signed."""
    service_cidr: str = "10.96.0.0/16"
    advertise_host: str = "10.42.0.1"
    advertise_port: int = 6443
    drain_seconds: float = 2.0
    audit_policy: Path | None = None
    """A Policy of audit.k8s.io/v1; without one there is no audit log (`audit.log` in `state_dir`)."""
    components: tuple[str, ...] = ("scheduler", "controller-manager")
    """What runs in the same process, as componentstatuses call it."""
    service_account_admission: bool = True
    """Off, pods need no ServiceAccount and get no token (upstream's --disable-admission-plugins=ServiceAccount)."""


class ApiServer:
    """`failed` is done when the store can take no more writes: end the process, so that it is started again."""

    def __init__(self, config: Config, *, clock: Clock | None = None, kinds: Iterable[Kind] = KINDS) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._table = tuple(kinds)
        self._store: Store | None = None
        self._http: HttpServer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ready = False
        self._audit: Audit | None = None

    @property
    def failed(self) -> asyncio.Future[Broken]:
        """Done, with what went wrong, when writes are no longer possible."""
        assert self._store is not None
        return self._store.broken

    async def start(self) -> None:
        """Return when requests are answered. Raises StoreError and OSError."""
        started = self._clock.monotonic()
        self._store = self._open_store()
        try:
            self._audit = self._open_audit()
            security = secure(self._store, self._config.state_dir, self._clock)
            registry = self._registry(self._store, security)
            self._http = self._server(registry, security)
            await self._bootstrap(registry)
            await self._listen(self._http)
        except BaseException:
            await self.stop()
            raise
        self._tasks.append(asyncio.create_task(expiry.run(registry, self._clock), name="event-expiry"))
        self._ready = True
        log.info("started", ms=round((self._clock.monotonic() - started) * 1000), revision=self._store.revision)

    async def stop(self) -> None:
        """End streams, let running requests finish, make everything durable."""
        self._ready = False
        while self._tasks:
            self._tasks.pop().cancel()
        if self._http is not None:
            await self._http.stop(self._config.drain_seconds)
            self._http = None
        if self._audit is not None:
            self._audit.close()
            self._audit = None
        if self._store is not None:
            self._store.close()
            log.info("stopped", revision=self._store.revision)
            self._store = None

    async def _bootstrap(self, registry: Registry) -> None:
        """What has to be there before the first request."""
        definitions = Definitions(registry)
        definitions.start()
        self._tasks.append(asyncio.create_task(definitions.run(), name="custom-resource-definitions"))
        accounts = DefaultAccounts(registry)
        accounts.start()
        await bootstrap(registry, self._address())
        self._tasks.append(asyncio.create_task(keep(registry, self._address(), self._clock), name="own-service"))
        await accounts.settle()
        writer = RolesWriter(registry)
        await roles.reconcile(registry.store, writer)
        aggregation = roles.Aggregation(registry.store, writer)
        await aggregation.settle()
        self._tasks.append(asyncio.create_task(aggregation.run(), name="role-aggregation"))
        config = self._config
        if config.client_ca is not None and config.client_ca_key is not None:
            signing = Signing(registry, Authority(config.client_ca, config.client_ca_key), self._clock)
            self._tasks.append(asyncio.create_task(signing.run(), name="certificate-signing"))

    def _open_store(self) -> Store:
        folder = self._config.state_dir
        store = MemoryStore(clock=self._clock) if folder is None else SqliteStore(folder, self._clock)
        collecting = gc.isenabled()
        gc.disable()  # what is loaded is no garbage: looking for some again and again would triple the time
        try:
            store.open()
        except BaseException:
            store.close()
            raise
        finally:
            if collecting:
                gc.enable()
        return store

    def _registry(self, store: Store, security: Security) -> Registry:
        kinds = Kinds(self._table, schema.load())
        allocator = ServiceAllocator(store, IPv4Network(self._config.service_cidr))
        plugins = admission.plugins(
            security.authority,
            security.tokens,
            self._config.client_ca.read_bytes() if self._config.client_ca is not None else b"",
            self._clock,
            service_account_admission=self._config.service_account_admission,
        )
        return Registry(store, kinds, allocator, self._clock, plugins)

    def _server(self, registry: Registry, security: Security) -> HttpServer:
        store, kinds = registry.store, registry.kinds
        checks = {"store": lambda: str(store.broken.result()) if store.broken.done() else ""}
        health = Health(checks, {"start": lambda: "" if self._ready else "not yet"})
        pods = Pods(registry, self._clock, self._config.kubelet_socket)
        special = (
            Accounts(registry, security.tokens, self._clock).answer,
            Reviews(kinds, security.authority, security.tokens).answer,
            Metrics(registry, self._clock, self._config.kubelet_socket).answer,
            ComponentStatuses(registry, self._clock, self._components(checks["store"])).answer,
            Proxies(registry, self._clock, self._config.kubelet_socket).answer,
            pods.answer_binding,
        )
        issuer = Issuer(security.tokens, f"{self._config.advertise_host}:{self._config.advertise_port}")
        objects = Objects(registry, self._clock)
        requests = Requests()
        page = Page(requests, partial(_objects, store), health.checks, _RELEASE)
        documents = (Discovery(kinds), OpenApi(kinds), health)
        app = App(kinds, security, special, issuer, objects, pods, *documents, requests, page)
        handler = app.handle if self._audit is None else self._audited(app.handle, security, self._audit)
        return HttpServer(handler, log, limits=Limits(body_bytes=BODY_BYTES_MAX), refuse=_refuse)

    def _components(self, store: Check) -> dict[str, Check]:
        """Those that share this process end with it: while it answers, they run."""
        return {**{name: lambda: "" for name in self._config.components}, "etcd-0": store}

    def _open_audit(self) -> Audit | None:
        """Raises OSError, ValueError."""
        config = self._config
        if config.audit_policy is None:
            return None
        if config.state_dir is None:
            raise ValueError("an audit log needs a state_dir")
        file = AuditFile(config.state_dir / "audit.log")
        made = Audit(audit.load(config.audit_policy), file, self._clock, protobuf.decode)
        file.start()
        return made

    def _audited(self, handler: Handler, security: Security, log: Audit) -> Handler:
        users = Users(security.sender, security.user)
        return Audited(handler, log, users, attributes_of, security.authority.decide).handle

    def _address(self) -> Address:
        first = str(IPv4Network(self._config.service_cidr)[1])
        return Address(first, self._config.advertise_host, self._config.advertise_port)

    async def _listen(self, http: HttpServer) -> None:
        config = self._config
        await http.listen_unix(config.unix_socket, name=LOCAL_LISTENER)
        sockets = (*((config.tls_socket,) if config.tls_socket else ()), *config.more_tls_sockets)
        if not sockets:
            return
        if config.tls_cert is None or config.tls_key is None or config.client_ca is None:
            raise ValueError("a TLS socket needs tls_cert, tls_key and client_ca")
        tls = server_tls(config.tls_cert, config.tls_key, config.client_ca)
        for sock in sockets:
            await http.listen(sock, name="tls", tls=tls)


def _objects(store: Store) -> dict[str, int]:
    """Stored objects by resource, as metrics name it: `deployments.apps`."""
    split = ((resource.rpartition("/"), count) for resource, count in store.counts().items())
    return {f"{plural}.{group}" if group else plural: count for (group, _, plural), count in split}


def _refuse(status: int, message: str) -> Response:
    """What the HTTP server answers by itself, as a Status."""
    if status == 413:
        return answers.failure(errors.too_large(BODY_BYTES_MAX))
    if status == 500:
        return answers.failure(errors.internal("an unexpected error; see the API server's log"))
    return answers.failure(errors.ApiError(status, "BadRequest", message))
