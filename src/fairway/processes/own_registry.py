"""Where the cluster's own registry is reached, by which names, and how the kubelet gets to it."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from fairway import registry
from fairway.certificates import authority
from fairway.kube.client.client import ApiClient
from fairway.processes.broker import listener
from fairway.processes.instance import Settings
from fairway.toolkit import files, signing
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_client import Dialer, Streams
from fairway.toolkit.http_server import server_tls

SERVICE = registry.Service(target_port=5443)
_IN_CLUSTER = ("registry.fairway.local", "registry.kube-system.svc.cluster.local", "registry.kube-system.svc")
_LIFETIME = timedelta(days=730)  # clients refuse more than 825 days
_RENEW_BEFORE = timedelta(days=180)

Listen = Callable[[str, int], Awaitable[socket.socket]]
Held = Callable[[], Awaitable[tuple[tuple[str, int], ...]]]


def names(settings: Settings) -> tuple[str, ...]:
    """The hosts, with port where needed, that mean the registry in image names."""
    found = (*_IN_CLUSTER, SERVICE.cluster_ip)
    if settings.registry is None:
        return found
    address = settings.registry
    hosts = ("127.0.0.1", "localhost") if address.reachable_host == "127.0.0.1" else (address.reachable_host,)
    return (*found, *(f"{_bracketed(host)}:{address.port}" for host in hosts))


def config(settings: Settings) -> registry.Config:
    """Images are those of the node; the token table is beside them."""
    return registry.Config(
        images_dir=settings.path / "images",
        tokens_file=tokens_file(settings.path),
        names=names(settings),
        service=SERVICE,
    )


def tokens_file(state_dir: Path) -> Path:
    """The token table of an instance."""
    return state_dir / "registry" / "tokens.json"


def tls(settings: Settings) -> ssl.SSLContext:
    """The registry's certificate by the sites' authority, which the kubelet is told to trust. Raises OSError."""
    now = datetime.now(UTC)
    signer = authority.from_files(settings.path / "pki", now)
    for name in names(settings):
        folder = settings.path / "registries" / name
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / "ca.crt", signer.certificate)
    certificate, key = (settings.path / "registry" / f"tls.{part}" for part in ("crt", "key"))
    hosts = tuple(dict.fromkeys(_host(name) for name in (*names(settings), SERVICE.address)))
    if not _good(certificate, key, hosts, signer, now):
        pair = signing.server(signer, hosts, now, _LIFETIME)
        certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.replace(key, pair.key, mode=0o600, durable=True)
        files.replace(certificate, pair.certificate, durable=True)
    return server_tls(certificate, key)


async def run(client: ApiClient, settings: Settings, clock: Clock, listen: Listen) -> None:
    """Serve on the node's address and, when it was asked for, on the host. Raises OSError."""
    with ExitStack() as stack:
        sockets = {"cluster": listener(SERVICE.address, SERVICE.target_port)}
        stack.enter_context(sockets["cluster"])
        if settings.registry is not None:
            sockets["host"] = stack.enter_context(await listen(settings.registry.host, settings.registry.port))
        context = tls(settings)
        listeners = tuple(registry.Listener(name, sock.fileno(), context) for name, sock in sockets.items())
        await registry.run(client, config(settings), clock, listeners)


def dialer(outside: Dialer, settings: Settings, service: registry.Service = SERVICE) -> Dialer:
    """Connections to the registry's names stay inside the cluster; all others go `outside`."""
    own = frozenset(names(settings))

    async def dial(host: str, port: int, context: ssl.SSLContext | None) -> Streams:
        if host not in own and f"{_bracketed(host)}:{port}" not in own:
            return await outside(host, port, context)
        return await asyncio.open_connection(
            service.address, service.target_port, ssl=context, server_hostname=host if context else None
        )

    return dial


def held_by_others(held: Held, settings: Settings) -> Held:
    """The host's listeners without that of the registry: whoever gives back what is not wanted leaves that alone."""

    async def others() -> tuple[tuple[str, int], ...]:
        own = settings.registry
        return tuple(one for one in await held() if own is None or one != (own.host, own.port))

    return others


def _good(certificate: Path, key: Path, hosts: tuple[str, ...], signer: signing.Pair, now: datetime) -> bool:
    try:
        pair = signing.Pair(certificate.read_bytes(), key.read_bytes())
        issued = signing.issued_by(pair.certificate, signer.certificate) and signing.fits(pair)
        fresh = signing.not_after(pair.certificate) - now > _RENEW_BEFORE
    except (FileNotFoundError, ValueError):
        return False
    return issued and fresh and set(hosts) <= signing.names(pair.certificate)


def _host(name: str) -> str:
    bare = name.rpartition(":")[0] if name.endswith(tuple("0123456789")) and ":" in name else name
    return bare.strip("[]")


def _bracketed(host: str) -> str:
    try:
        return f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        return host
