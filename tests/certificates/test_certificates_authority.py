"""The authority: made once, kept, and never mixed up with the one of API clients."""

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from fairway.certificates import authority
from fairway.engine.apiserver import ApiServer, Config
from fairway.kube.client.client import ApiClient
from fairway.toolkit import signing
from fairway.toolkit.http_client import HttpClient, unix_connector

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def test_files_are_made_once(tmp_path: Path) -> None:
    first = authority.from_files(tmp_path / "pki", NOW)
    assert authority.from_files(tmp_path / "pki", NOW + timedelta(days=1000)) == first
    where = authority.paths(tmp_path / "pki")
    assert stat.S_IMODE(where.key.stat().st_mode) == 0o600
    found = x509.load_pem_x509_certificate(where.certificate.read_bytes())
    assert found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("spoil", ["expiring", "broken", "foreign key", "no key"])
def test_what_cannot_sign_is_made_anew(tmp_path: Path, spoil: str) -> None:
    first = authority.from_files(tmp_path, NOW)
    where = authority.paths(tmp_path)
    if spoil == "broken":
        where.certificate.write_bytes(b"nonsense")
    elif spoil == "foreign key":
        where.key.write_bytes(signing.authority("other", NOW).key)
    elif spoil == "no key":
        where.key.unlink()
    second = authority.from_files(tmp_path, NOW + timedelta(days=3600 if spoil == "expiring" else 0))
    assert second != first
    assert signing.fits(second)


def test_leaves_chain_and_never_outlive_the_authority(tmp_path: Path) -> None:
    signer = authority.from_files(tmp_path, NOW)
    leaf = signing.server(signer, ("*.a.test", "a" * 63 + ".test"), NOW + timedelta(days=3600), timedelta(days=90))
    assert signing.issued_by(leaf.certificate, signer.certificate)
    assert signing.not_after(leaf.certificate) == signing.not_after(signer.certificate)
    assert not signing.issued_by(leaf.certificate, signing.authority("Fairway sites", NOW).certificate)


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[ApiClient]:
    server = ApiServer(Config(state_dir=None, unix_socket=tmp_path / "api.sock", kubelet_socket=tmp_path / "none"))
    await server.start()
    async with HttpClient(unix_connector(tmp_path / "api.sock"), host_header="localhost") as http:
        yield ApiClient(http)
    await server.stop()


async def test_racing_rooms_agree_on_one_authority_in_the_cluster(client: ApiClient) -> None:
    found = await asyncio.gather(*(authority.from_cluster(client, "fairway-system", NOW) for _ in range(5)))
    assert len({pair.certificate for pair in found}) == 1
    assert await authority.from_cluster(client, "fairway-system", NOW) == found[0]
    renewed = await authority.from_cluster(client, "fairway-system", NOW + timedelta(days=3600))
    assert renewed.certificate != found[0].certificate
