"""The registry's names and certificate, and who is let through to it."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from fairway.certificates import authority
from fairway.processes import own_registry
from fairway.processes.instance import Address, Settings
from fairway.toolkit import signing
from fairway.toolkit.http_client import Streams

HERE = Address("127.0.0.1", 8080)
OWN = ("registry.fairway.local", "registry.kube-system.svc.cluster.local", "registry.kube-system.svc", "10.96.0.20")


def settings(folder: Path, registry: Address | None = None) -> Settings:
    return Settings(str(folder), HERE, HERE, HERE, registry=registry)


@pytest.mark.parametrize(
    ("address", "more"),
    [
        (None, ()),
        (Address("127.0.0.1", 5000), ("127.0.0.1:5000", "localhost:5000")),
        (Address("0.0.0.0", 5000), ("127.0.0.1:5000", "localhost:5000")),
        (Address("192.0.2.7", 443), ("192.0.2.7:443",)),
        (Address("2001:db8::1", 5000), ("[2001:db8::1]:5000",)),
        (Address("harbor.corp.com", 5000), ("harbor.corp.com:5000",)),
    ],
)
def test_names_and_what_the_certificate_says(tmp_path: Path, address: Address | None, more: tuple[str, ...]) -> None:
    given = settings(tmp_path, address)
    assert own_registry.names(given) == (*OWN, *more)
    own_registry.tls(given)
    hosts = signing.names((tmp_path / "registry" / "tls.crt").read_bytes())
    assert hosts >= {*OWN, *((address.reachable_host,) if address else ())}
    for name in own_registry.names(given):
        root = (tmp_path / "registries" / name / "ca.crt").read_bytes()
        assert signing.issued_by((tmp_path / "registry" / "tls.crt").read_bytes(), root)


def test_the_certificate_is_kept_until_something_changes(tmp_path: Path) -> None:
    file = tmp_path / "registry" / "tls.crt"
    own_registry.tls(settings(tmp_path))
    first = file.read_bytes()
    own_registry.tls(settings(tmp_path))
    assert file.read_bytes() == first
    own_registry.tls(settings(tmp_path, Address("192.0.2.7", 5000)))
    second = file.read_bytes()
    assert second != first
    for path in (tmp_path / "pki").iterdir():
        path.unlink()
    own_registry.tls(settings(tmp_path, Address("192.0.2.7", 5000)))
    root = authority.from_files(tmp_path / "pki", datetime.now(UTC))
    assert signing.issued_by(file.read_bytes(), root.certificate)


async def test_only_own_names_stay_inside(tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked: list[tuple[str, int]] = []

    async def outside(host: str, port: int, context: ssl.SSLContext | None) -> Streams:
        asked.append((host, port))
        raise OSError("outside")

    given = settings(tmp_path, Address("127.0.0.1", 5000))
    service = msgspec.structs.replace(own_registry.SERVICE, address="127.0.0.1", target_port=port)
    dial = own_registry.dialer(outside, given, service)
    for host, number in (("registry.fairway.local", 443), ("127.0.0.1", 5000), ("localhost", 5000)):
        _, writer = await dial(host, number, None)
        writer.close()
    for host, number in (("127.0.0.1", 5001), ("docker.io", 443), ("registry.fairway.local.evil", 443)):
        with pytest.raises(OSError, match="outside"):
            await dial(host, number, None)
    assert [host for host, _ in asked] == ["127.0.0.1", "docker.io", "registry.fairway.local.evil"]
    server.close()


async def test_who_gives_listeners_back_does_not_see_ours(tmp_path: Path) -> None:
    async def held() -> tuple[tuple[str, int], ...]:
        return (("127.0.0.1", 5000), ("0.0.0.0", 30000))

    others = own_registry.held_by_others(held, settings(tmp_path, Address("127.0.0.1", 5000)))
    assert await others() == (("0.0.0.0", 30000),)
    assert await own_registry.held_by_others(held, settings(tmp_path))() == await held()
