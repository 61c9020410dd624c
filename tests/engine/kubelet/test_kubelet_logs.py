"""Reading logs: tails, times, partial lines, rotation and following."""

import asyncio
from pathlib import Path

import pytest

from fairway.engine.kubelet.log_reader import LogOptions, copy
from fairway.toolkit.clock import SystemClock

LINES = (
    "2026-01-01T00:00:00.000000000Z stdout F one\n"
    "2026-01-01T00:00:01.000000000Z stderr P tw\n"
    "2026-01-01T00:00:01.500000000Z stderr F o\n"
    "2026-01-01T00:00:02.000000000Z stdout F three\n"
)


async def read(path: Path, **options: object) -> str:
    got = bytearray()

    async def write(data: bytes) -> None:
        got.extend(data)

    await copy(path, LogOptions(**options), write, lambda: False, SystemClock())
    return got.decode()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "one\ntwo\nthree\n"),
        ({"tail_lines": 1}, "three\n"),
        ({"tail_lines": 0}, ""),
        ({"tail_lines": 100}, "one\ntwo\nthree\n"),
        ({"since": "2026-01-01T00:00:02.000000000Z"}, "three\n"),
        ({"limit_bytes": 6}, "one\ntw"),
        (
            {"timestamps": True, "tail_lines": 3},
            "2026-01-01T00:00:01.000000000Z two\n2026-01-01T00:00:02.000000000Z three\n",
        ),
        ({"follow": True}, "one\ntwo\nthree\n"),
    ],
)
async def test_options(tmp_path: Path, options: dict[str, object], expected: str) -> None:
    path = tmp_path / "0.log"
    path.write_text(LINES)
    assert await read(path, **options) == expected


async def test_a_long_log_has_the_right_tail(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("".join(f"2026-01-01T00:00:00.{number:09d}Z stdout F line {number}\n" for number in range(20_000)))
    assert await read(path, tail_lines=5_000) == "".join(f"line {number}\n" for number in range(15_000, 20_000))


async def test_following_survives_rotation_and_ends_with_the_container(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(LINES)
    got, alive, grew = bytearray(), True, asyncio.Event()

    async def write(data: bytes) -> None:
        got.extend(data)
        grew.set()

    async def until(text: bytes) -> None:
        async with asyncio.timeout(60):
            while not got.endswith(text):
                grew.clear()
                await grew.wait()

    reading = asyncio.create_task(copy(path, LogOptions(follow=True), write, lambda: alive, SystemClock()))
    await until(b"three\n")
    with path.open("a") as file:
        file.write("2026-01-01T00:00:03.000000000Z stdout F fo")
        file.flush()
        await asyncio.sleep(0)
        file.write("ur\n")
    path.rename(tmp_path / "0.log.1")
    path.write_text("2026-01-01T00:00:04.000000000Z stdout F five\n")
    await until(b"four\nfive\n")
    alive = False
    await asyncio.wait_for(reading, 60)
