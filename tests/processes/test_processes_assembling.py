"""Bases made by the launcher: the real command at the other end of a real broker."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from fairway.delivery.builds.bases import Bases
from fairway.delivery.builds.target import BuildError
from fairway.processes.assembling import Assembling, assembler
from fairway.processes.broker import Broker, BrokerServer
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore

PRETENDED = """#!/bin/sh
echo "I: downloading packages with apt..." >&2
echo once >> {state}/asked
for argument; do archive=$argument; case $argument in *.tar) tar -cf "$argument" -C {state} packages; esac; done
"""


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    outer, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    making = Assembling(tmp_path)
    server = BrokerServer(outer, making.start)
    thread = threading.Thread(target=lambda: all(iter(server.serve_one, False)))
    thread.start()
    yield Broker(inner)
    making.close()
    asyncio.get_running_loop().remove_reader(inner.fileno())
    inner.close()
    thread.join()
    outer.close()


async def test_a_base_is_made_once_and_everybody_hears_of_it(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    program = tmp_path / "mmdebstrap"
    program.write_text(PRETENDED.format(state=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    bases = Bases(assembler(broker))
    told: tuple[list[str], ...] = ([], [])
    await asyncio.gather(*(bases.ensure("nginx", lines.append) for lines in told))
    assert (
        told[0] == told[1]
        and told[0][0].startswith("making base nginx")
        and "  downloading packages with apt" in told[0]
    )
    assert (tmp_path / "asked").read_text() == "once\n"
    assert ImageStore(tmp_path / "images").find(parse("nginx:alpine")) is not None


async def test_what_cannot_be_made_says_the_next_step(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    bases = Bases(assembler(broker))
    for _ in range(2):  # the second time it is only told again
        with pytest.raises(BuildError, match="apt-get install -y mmdebstrap") as caught:
            await bases.ensure("python", lambda line: None)
        assert "fairway image build --base python" in str(caught.value)
    with pytest.raises(OSError, match="unknown base"):
        await broker.base("../evil")
