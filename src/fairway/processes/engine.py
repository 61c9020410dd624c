"""The engine: every room of a one-machine cluster in one event loop.

Started by the supervisor with the instance's settings and the host's name servers as arguments, and with the listening
sockets, the broker and the notice pipe as descriptors named in FAIRWAY_FDS. It may be killed at any moment: what it
needs to go on is in the state directory, in the run directory and in the processes that live on.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # till `main`: what is imported is no garbage, and looking for some takes a sixth of all the importing

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address

import msgspec
import uvloop

import fairway
from fairway import certificates, edge
from fairway.engine import apiserver, controllers, dns, kubelet, loadbalancer, scheduler, serviceproxy
from fairway.engine.kubelet.images.service import ImageService
from fairway.engine.kubelet.network import PodNetwork
from fairway.kube.api import noun
from fairway.kube.api.config import Node
from fairway.kube.api.resource import NODES
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.processes import default_certificate, own_delivery, own_registry, pki
from fairway.processes.broker import Broker, listener
from fairway.processes.instance import Address, Settings
from fairway.processes.keep_running import keep_running
from fairway.processes.supervisor import RUN_DIR, ZYGOTE_SOCKET
from fairway.toolkit import files, logs
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

log = logs.get("engine")

_NODE_NAME = "fairway"
_NODE_IP = "10.42.0.1"
_API_VIP = "10.96.0.1"
_API_PORT = 6443
_DNS_ADDRESS = "10.96.0.10:53"
_API_SOCKET = RUN_DIR / "api.sock"
_KUBELET_SOCKET = RUN_DIR / "kubelet.sock"
_POLL_SECONDS = 0.01
_DELIVERY_SECONDS = 10.0
_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


class Handed(msgspec.Struct, frozen=True):
    """The descriptors that the supervisor handed over."""

    http: int
    https: int
    api: int
    broker: int
    notice: int


def handed(text: str) -> Handed:
    """Read FAIRWAY_FDS, `http=5,https=6,…`; none of them is passed on to later children by accident."""
    numbers = {name: int(fd) for name, fd in (pair.split("=") for pair in text.split(","))}
    for fd in numbers.values():
        os.set_inheritable(fd, False)
    return msgspec.convert(numbers, Handed)


class Notices:
    """Words for the person who waits in front of the launcher."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def say(self, word: str) -> None:
        """Report progress; nobody listening is fine."""
        try:
            os.write(self._fd, f"{word}\n".encode())
        except OSError:
            pass
        log.info(word)


async def serve(settings: Settings, upstream: tuple[str, ...], sockets: Handed) -> None:
    """Run every room until cancelled; returns only by an exception or cancellation."""
    notices = Notices(sockets.notice)
    clock = SystemClock()
    broker = Broker(socket.socket(fileno=sockets.broker))
    await PodNetwork(RUN_DIR).setup_node()  # first: the API also listens on the node's address, for pods
    signed = pki.ensure(settings.path, _server_names(settings), datetime.now(UTC))
    server = apiserver.ApiServer(_api_config(settings, signed, sockets), clock=clock)
    await server.start()
    files.replace(settings.kubeconfig, _kubeconfig(settings, signed), mode=0o600)
    notices.say("api")
    default_certificate.ensure(settings)
    client = _client()
    ready = asyncio.Event()
    balancing = await _load_balancer_config(settings, broker)
    gate = serviceproxy.Gate()
    rooms: Mapping[str, Callable[[], Awaitable[None]]] = {
        "controllers": lambda: controllers.run(
            client, clock, root_ca=signed.ca.read_bytes(), volumes_dir=settings.path / "volumes"
        ),
        "scheduler": lambda: scheduler.run(client, clock),
        "kubelet": lambda: kubelet.run(
            client,
            _kubelet_config(settings),
            clock,
            images=ImageService(settings.path, own_registry.dialer(broker.dial, settings)),
            admit=gate.admit,
        ),
        "serviceproxy": lambda: serviceproxy.run(client, serviceproxy.Config(), clock, gate),
        "loadbalancer": lambda: loadbalancer.run(client, balancing, clock),
        "dns": lambda: dns.run(client, _dns_config(upstream, broker), clock),
        "certificates": lambda: certificates.run(client, certificates.Config(settings.path / "pki"), clock),
        "registry": lambda: own_registry.run(client, settings, clock, broker.listen),
    }
    served = edge.Served()
    if settings.delivery:
        dialer, door = own_registry.dialer(broker.dial, settings), served if settings.edge else None
        rooms = {**rooms, "delivery": lambda: own_delivery.run(client, settings, clock, ready, dialer, broker, door)}
    if settings.edge:
        rooms = {**rooms, "edge": lambda: edge.run(client, _edge_config(settings, sockets), clock, served)}
    try:
        async with asyncio.TaskGroup() as tasks:
            for name, run in rooms.items():
                tasks.create_task(keep_running(name, run))
            tasks.create_task(_announce(client, broker, settings, notices, ready))
            tasks.create_task(_end_when_broken(server))
    finally:
        await server.stop()


def _client() -> ApiClient:
    """All rights, over the Unix socket; the name is what managed fields and the audit log show."""
    agent = (("User-Agent", f"fairway/{fairway.__version__}"),)
    http = HttpClient(unix_connector(_API_SOCKET), host_header="localhost", max_connections=64, default_headers=agent)
    return ApiClient(http)


async def _end_when_broken(server: apiserver.ApiServer) -> None:
    """A store that cannot write any more is opened again by a new process."""
    raise RuntimeError(f"the store is broken: {await server.failed}")


def _api_config(settings: Settings, signed: pki.Paths, sockets: Handed) -> apiserver.Config:
    return apiserver.Config(
        state_dir=settings.path / "api",
        unix_socket=_API_SOCKET,
        kubelet_socket=_KUBELET_SOCKET,
        tls_socket=socket.socket(fileno=sockets.api),
        more_tls_sockets=(listener(_NODE_IP, _API_PORT),),
        tls_cert=signed.server,
        tls_key=signed.server_key,
        client_ca=signed.ca,
        client_ca_key=signed.ca_key,
        advertise_host=_NODE_IP,
        advertise_port=_API_PORT,
        audit_policy=audit_policy if (audit_policy := settings.path / "audit-policy.yaml").exists() else None,
    )


def _kubelet_config(settings: Settings) -> kubelet.Config:
    return kubelet.Config(
        state_dir=settings.path / "node",
        run_dir=RUN_DIR,
        zygote_socket=ZYGOTE_SOCKET,
        server_socket=_KUBELET_SOCKET,
        node_name=_NODE_NAME,
        node_ip=_NODE_IP,
        volumes_dir=settings.path / "volumes",
        runtime=settings.runtime,
        own_registry=frozenset(own_registry.names(settings)),
        pods_max=settings.max_pods,
        host_path_allow_list=settings.host_paths,
        allow_privileged=settings.allow_privileged,
    )


def _dns_config(upstream: tuple[str, ...], broker: Broker) -> dns.Config:
    return dns.Config(upstreams=upstream, datagram=broker.datagram, connect=broker.connect)


def _edge_config(settings: Settings, sockets: Handed) -> edge.Config:
    return edge.Config(
        run_dir=RUN_DIR / "edge",
        state_dir=settings.path / "edge",
        http_fd=sockets.http,
        https_fd=sockets.https,
        status_addresses=_status_addresses(settings.http),
        access_log=settings.path / "log" / "access.log",
        metrics_socket=settings.path / "edge" / "metrics.sock",
        trace=True,
        lease="kube-system/fairway-edge",
        identity=_NODE_NAME,  # the same for every engine, so that the next one need not wait
        name_servers=(_DNS_ADDRESS,),
    )


async def _load_balancer_config(settings: Settings, broker: Broker) -> loadbalancer.Config:
    flags = {settings.https.port: "--https", settings.http.port: "--http", settings.api.port: "--api"}
    if settings.registry is not None:
        flags[settings.registry.port] = "--registry"
    pool = settings.load_balancer_addresses
    return loadbalancer.Config(
        run_dir=RUN_DIR / "loadbalancer",
        tcp=loadbalancer.HostSockets(broker.listen, own_registry.held_by_others(broker.held, settings), broker.release),
        udp=loadbalancer.HostSockets(broker.bind, broker.bound, broker.unbind),
        node_address=settings.http.host,
        pool=(settings.http.host,) if pool is None else pool,
        published={"0.0.0.0": await _host_address(broker)},
        own_ports=flags,
    )


async def _host_address(broker: Broker) -> str:
    """The host's address towards the outside; connecting a datagram socket only asks its routing table."""
    try:
        with await broker.datagram("192.0.2.1", 9) as sock:
            return str(sock.getsockname()[0])
    except OSError:
        return "127.0.0.1"


async def _announce(
    client: ApiClient, broker: Broker, settings: Settings, notices: Notices, ready: asyncio.Event
) -> None:
    """Tell when the node takes pods, the edge answers and Apps can be made; then all is ready."""
    await _until(lambda: _node_ready(client))
    notices.say("node")
    if settings.edge:
        await _until(lambda: _edge_answers(broker, settings.http))
        notices.say("edge")
    ready.set()
    if settings.delivery:
        # `up --detach && kubectl apply` may bring an App; a delivery that cannot start holds nothing else up.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DELIVERY_SECONDS):
                await _until(lambda: own_delivery.takes_apps(client))
    notices.say("ready")


async def _until(check: Callable[[], Awaitable[bool]]) -> None:
    while not await check():  # noqa: ASYNC110 - what is asked is outside this process: nothing here could set an event
        await asyncio.sleep(_POLL_SECONDS)


async def _node_ready(client: ApiClient) -> bool:
    try:
        node = noun.decode(Node, await client.get(NODES, _NODE_NAME))
    except (ApiError, Unreachable):
        return False
    return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)


async def _edge_answers(broker: Broker, address: Address) -> bool:
    """Whether any answer comes back through the host's port: the way that users come."""
    try:
        async with asyncio.timeout(1):
            reader, writer = await broker.dial(address.reachable_host, address.port)
            writer.write(b"GET / HTTP/1.0\r\n\r\n")
            answered = (await reader.read(5)).startswith(b"HTTP/")
            writer.close()
    except (OSError, TimeoutError):
        return False
    return answered


def _server_names(settings: Settings) -> tuple[str, ...]:
    """Every name and address under which the API is reached."""
    host = settings.api.host
    every = settings.api.reachable_host if host not in ("0.0.0.0", "::") else socket.gethostname()
    return tuple(dict.fromkeys((*_SERVICE_NAMES, "localhost", "127.0.0.1", "::1", _API_VIP, _NODE_IP, every)))


def _kubeconfig(settings: Settings, signed: pki.Paths) -> bytes:
    access = kubeconfig.Access(
        server=settings.api.url("https"),
        ca=signed.ca.read_bytes(),
        certificate=signed.admin.read_bytes(),
        key=signed.admin_key.read_bytes(),
    )
    return kubeconfig.render(access, name="fairway")


def _status_addresses(address: Address) -> tuple[str, ...]:
    """What Ingresses show as their address."""
    try:
        return () if ip_address(address.host).is_unspecified else (address.host,)
    except ValueError:
        return ()


def _print_tasks() -> None:
    """`kill -USR1`: where every task waits, for somebody who wonders why nothing moves."""
    for task in asyncio.all_tasks():
        task.print_stack()


def main(arguments: list[str]) -> None:
    """Run until SIGTERM."""
    settings = msgspec.json.decode(arguments[0], type=Settings)
    sockets = handed(os.environ.pop("FAIRWAY_FDS"))

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, _print_tasks)
        gc.freeze()  # what was imported lives for ever: the collector need not look at it again
        gc.enable()
        try:
            await serve(settings, tuple(arguments[1:]), sockets)
        except asyncio.CancelledError:
            log.info("stop")

    uvloop.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])
