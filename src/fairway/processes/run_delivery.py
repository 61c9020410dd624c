"""`fairway run delivery`: the delivery room alone, for any cluster that a kubeconfig leads to."""

import argparse
import asyncio
import signal
import socket
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from fairway import certificates
from fairway.cli import terminal
from fairway.cli.delivery.alone import PRIVATE_NETWORKS
from fairway.delivery.config import Config
from fairway.delivery.room import run as serve
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.processes import instance
from fairway.processes.instance import Address
from fairway.processes.keep_running import keep_running
from fairway.toolkit import files
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.oci.authentication import BadCredentials, parse_docker_config
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse

_HTTPS_PORT = 443


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    try:
        listen = instance.parse_address(arguments.listen, "0.0.0.0")
        settings = config(arguments, listen)
        client = kubeconfig.connect(kubeconfig.load(arguments.kubeconfig, arguments.context))
        _trust(settings, arguments.registry_ca)
        uvloop.run(_serve(client, settings, listen, with_certificates=arguments.with_certificates))
    except ValueError as error:
        terminal.fail(f"fairway run delivery: {error}")
        return 2
    except (OSError, kubeconfig.KubeconfigError) as error:
        terminal.fail(f"fairway run delivery: {error}")
        return 1
    return 0


def config(arguments: argparse.Namespace, listen: Address) -> Config:
    """The room's settings for these arguments. Raises ValueError naming the flag, OSError."""
    folder: Path = arguments.state_dir.absolute()
    site = arguments.sites_port
    if arguments.registry_credentials is not None:
        _credentials(arguments.registry_credentials)
    return Config(
        state_dir=folder,
        endpoint_address=_advertised(arguments.advertise_address, listen),
        endpoint_port=listen.port,
        public_url=_url(arguments.public_url),
        url_suffix="" if site == _HTTPS_PORT else f":{site}",
        push_bytes_max=instance.push_bytes(arguments.max_push_size),
        allowed_hosts=frozenset(arguments.allow_forge),
        registry=_registry(arguments.registry),
        registry_credentials=arguments.registry_credentials and arguments.registry_credentials.absolute(),
        registry_authorities=folder / "registries",
        site_base=arguments.site_base,
        toolbox_image=arguments.toolbox_image,
        runs_max=max(1, arguments.runs),
        dns_addresses=tuple(arguments.dns_address),
        cluster_networks=tuple(arguments.cluster_network) or PRIVATE_NETWORKS,
    )


def _advertised(address: str, listen: Address) -> str:
    """Raises ValueError naming the flag."""
    try:
        found = IPv4Address(address or listen.host)
    except ValueError as error:
        raise ValueError(f"--advertise-address: {error}") from None
    if found.is_unspecified or (found.is_loopback and not address):
        raise ValueError(f"--advertise-address: no pod reaches this machine at {found}; give an address that they do")
    return str(found)


def _url(text: str) -> str:
    """Raises ValueError naming the flag."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"--public-url: {text!r} is not like https://git.example.com, with nothing after the host")
    return text.rstrip("/")


def _registry(text: str) -> str:
    """Raises ValueError naming the flag."""
    prefix = text.rstrip("/")
    try:
        found = _reference(prefix)
    except InvalidReference as error:
        raise ValueError(f"--registry: {error}") from None
    if not f"{found.name}/".startswith(f"{prefix}/"):
        raise ValueError(f"--registry: {text!r} names no host; write it like registry.example.com/fairway")
    return prefix


def _reference(registry: str) -> Reference:
    """An image of the registry. Raises InvalidReference."""
    return parse(f"{registry}/namespace/app:commit")


def _credentials(path: Path) -> None:
    """Look into it now, not at the first build. Raises ValueError naming the flag, OSError."""
    try:
        parse_docker_config(path.read_bytes())
    except BadCredentials as error:
        raise ValueError(f"--registry-credentials: {path}: {error}") from None


def _trust(settings: Config, authority: Path | None) -> None:
    """Put the registry's authority where it is looked for. Raises OSError."""
    if authority is None or settings.registry_authorities is None:
        return
    folder = settings.registry_authorities / _reference(settings.registry).registry
    folder.mkdir(parents=True, exist_ok=True)
    files.replace(folder / "ca.crt", authority.read_bytes())


async def _serve(client: ApiClient, settings: Config, listen: Address, *, with_certificates: bool) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    clock = SystemClock()
    with socket.create_server((listen.host, listen.port)) as sock:
        terminal.step(f"serving {settings.public_url} at {listen}; images go to {settings.registry}")
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(keep_running("delivery", lambda: serve(client, settings, clock, sock)))
                if with_certificates:
                    issuing = certificates.Config(cluster_issuers=False)
                    tasks.create_task(keep_running("certificates", lambda: certificates.run(client, issuing, clock)))
        except asyncio.CancelledError:
            pass
