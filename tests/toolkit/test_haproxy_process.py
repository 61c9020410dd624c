"""A HAProxy process and its socket: start, replace, adopt, notice its end, refuse."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fairway.toolkit.haproxy import CommandRefused, ConfigRefused, Process, RuntimeSocket, SocketUnreachable, find
from fairway.toolkit.haproxy.listening import listening
from fairway.toolkit.haproxy.runtime import escape

CONFIG = """
global
  stats socket unix@haproxy.sock mode 600 level admin expose-fd listeners
  nbthread 1
  hard-stop-after 1s
defaults
  mode http
  timeout client 60s
  timeout connect 60s
  timeout server 60s
frontend f
  bind {bind}
  http-request return status 200 content-type text/plain lf-string "%[base,map_beg(m.map,none)] {word}"
backend b
  server s1 127.0.0.1:1 disabled
  server s2 127.0.0.1:2
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as created:
        yield created


@pytest.fixture
async def process(tmp_path: Path, listener: socket.socket) -> AsyncIterator[Process]:
    made = Process(find(), tmp_path, listeners=(listener.fileno(),))
    (tmp_path / "m.map").write_text("a.test/ first\n")
    write(tmp_path, listener, "one")
    yield made
    await made.stop()


def write(folder: Path, listener: socket.socket, word: str) -> None:
    (folder / "haproxy.cfg").write_text(CONFIG.format(bind=f"fd@{listener.fileno()}", word=word))


async def get(listener: socket.socket) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    writer.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    return answer.rpartition("\r\n")[2]


async def test_it_serves_inherited_sockets_and_a_replacement_takes_over(
    process: Process, tmp_path: Path, listener: socket.socket
) -> None:
    await process.start()
    first = process.pid
    assert await get(listener) == "first one"
    write(tmp_path, listener, "two")
    await process.start()
    assert process.pid != first
    assert await get(listener) == "first two"


async def test_a_bad_configuration_is_refused_in_haproxys_words_and_nothing_changes(
    process: Process, tmp_path: Path, listener: socket.socket
) -> None:
    await process.start()
    first = process.pid
    (tmp_path / "haproxy.cfg").write_text("global\n  nonsense\n")
    with pytest.raises(ConfigRefused, match="nonsense"):
        await process.check()
    with pytest.raises(ConfigRefused, match="nonsense"):
        await process.start()
    assert (process.pid, process.alive) == (first, True)
    assert await get(listener) == "first one"


async def test_a_taken_address_is_named(tmp_path: Path, listener: socket.socket) -> None:
    other = Process(find(), tmp_path)
    (tmp_path / "m.map").write_text("")
    port = listener.getsockname()[1]
    (tmp_path / "haproxy.cfg").write_text(CONFIG.format(bind=f"127.0.0.1:{port}", word="x"))
    with pytest.raises(ConfigRefused, match=f"in use.*{port}"):
        await other.start()


async def test_its_end_is_noticed(process: Process) -> None:
    await process.start()
    waiting = asyncio.create_task(process.ended())
    await asyncio.sleep(0)
    assert not waiting.done() and process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(waiting, 60)
    assert not process.alive
    await process.ended()


async def test_another_process_object_adopts_it(process: Process, tmp_path: Path) -> None:
    assert not await process.adopt()
    await process.start()
    other = Process(find(), tmp_path)
    assert await other.adopt()
    assert other.pid == process.pid
    other.release()


async def test_servers(process: Process) -> None:
    await process.start()
    await process.socket.set_servers([("b", "s1", "10.0.0.1", 8080), ("b", "s1", "10.0.0.1", 8080)])
    await process.socket.disable_servers([("b", "s2")])
    states = {state.name: state for state in await process.socket.show_servers()}
    assert (states["s1"].address, states["s1"].port, states["s1"].maintenance) == ("10.0.0.1", 8080, False)
    assert states["s2"].maintenance
    with pytest.raises(CommandRefused, match="No such server"):
        await process.socket.disable_servers([("b", "s1"), ("b", "s9")])


async def test_maps(process: Process) -> None:
    await process.start()
    runtime = process.socket
    await runtime.add_map("m.map", {"b.test/x;y": "v|1", "c.test/": "w"})
    await runtime.set_map("m.map", {"b.test/x;y": "two\\words;"})
    await runtime.delete_map("m.map", ["c.test/"])
    assert dict(await runtime.show_map("m.map")) == {"a.test/": "first", "b.test/x;y": "two\\words;"}
    many = tuple((f"h{number}.test/{'x' * 100}", str(number)) for number in range(500))
    await runtime.replace_map("m.map", many)
    assert await runtime.show_map("m.map") == many
    with pytest.raises(CommandRefused):
        await runtime.set_map("m.map", {"none": "x"})
    with pytest.raises(CommandRefused):
        await runtime.show_map("none.map")


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(SocketUnreachable):
        await RuntimeSocket(tmp_path).info()


def test_words_are_escaped() -> None:
    assert escape("a b;c\\d") == "a\\ b\\;c\\\\d"
    for bad in ("a\nb", "a\0"):
        with pytest.raises(ValueError, match="line break"):
            escape(bad)


async def test_the_old_one_accepts_nothing_once_the_new_one_is_there(
    tmp_path: Path, process: Process, listener: socket.socket
) -> None:
    inode = str(os.fstat(listener.fileno()).st_ino)
    await process.start()
    for number in range(20):
        old = process.pid
        assert old is not None and inode in listening(old)
        write(tmp_path, listener, f"w{number}")
        await process.start()
        assert inode not in listening(old)
        assert await get(listener) == f"first w{number}"
