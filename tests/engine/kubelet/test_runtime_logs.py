"""Container output as CRI log lines."""

import re

import pytest

from fairway.engine.kubelet.runtime.cgroups import Limits
from fairway.engine.kubelet.runtime.logs import LogFile, Stream, timestamp
from fairway.engine.kubelet.runtime.records import exit_fields

LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) ([PF]) (.*)", re.DOTALL)
KIB16 = 16 * 1024


def lines(path):
    return [LINE.fullmatch(line).groups() for line in path.read_bytes().split(b"\n")[:-1]]


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((b"one\ntwo\n",), [(b"F", b"one"), (b"F", b"two")]),
        ((b"on", b"e\n", b"\n"), [(b"F", b"one"), (b"F", b"")]),
        ((b"no end",), [(b"P", b"no end")]),
        ((b"x" * KIB16 + b"\n",), [(b"F", b"x" * KIB16)]),
        ((b"x" * (KIB16 + 1) + b"\n",), [(b"P", b"x" * KIB16), (b"F", b"x")]),
        ((b"x" * KIB16, b"x" * KIB16, b"yz\n"), [(b"P", b"x" * KIB16), (b"P", b"x" * KIB16), (b"F", b"yz")]),
        ((b"\xff\x00\r\n",), [(b"F", b"\xff\x00\r")]),
    ],
)
def test_splitting(tmp_path, chunks, expected):
    stream = Stream("stderr", LogFile(str(tmp_path / "0.log")))
    for chunk in chunks:
        stream.feed(chunk)
    stream.close()
    assert lines(tmp_path / "0.log") == [(b"stderr", tag, text) for tag, text in expected]


def test_rotation_keeps_the_newest(tmp_path):
    log = LogFile(str(tmp_path / "0.log"), most_bytes=200, most_files=3)
    stream = Stream("stdout", log)
    for number in range(20):
        stream.feed(b"line %02d %s\n" % (number, b"." * 40))
    names = ("0.log.2", "0.log.1", "0.log")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    texts = [text[:7] for name in names for _, _, text in lines(tmp_path / name)]
    assert texts == [b"line %02d" % number for number in range(20 - len(texts), 20)]
    assert all((tmp_path / name).stat().st_size <= 200 for name in names)


def test_appends_after_a_restart(tmp_path):
    for text in (b"one\n", b"two\n"):
        Stream("stdout", LogFile(str(tmp_path / "0.log"))).feed(text)
    assert [text for _, _, text in lines(tmp_path / "0.log")] == [b"one", b"two"]


def test_timestamp():
    assert timestamp(1_700_000_000_000_000_012) == "2023-11-14T22:13:20.000000012Z"


@pytest.mark.parametrize(
    ("status", "oom", "code", "signal", "reason"),
    [
        (0, False, 0, None, "Completed"),
        (42 << 8, False, 42, None, "Error"),
        (9, False, 137, 9, "Error"),
        (9, True, 137, 9, "OOMKilled"),
        (15, False, 143, 15, "Error"),
    ],
)
def test_exit_fields(status, oom, code, signal, reason):
    fields = exit_fields(status, oom, 0)
    assert (fields["exit_code"], fields["signal"], fields["reason"]) == (code, signal, reason)


def test_limits_as_files():
    limits = Limits(1 << 20, 50_000, 1024, 10)
    assert dict(limits.files(unified=True)) == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.max": "50000 100000",
        "cpu.weight": "39",
        "pids.max": "10",
    }
    assert dict(limits.files(unified=False)) == {
        "memory.limit_in_bytes": "1048576",
        "memory.memsw.limit_in_bytes": "1048576",
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
        "cpu.shares": "1024",
        "pids.max": "10",
    }
    assert Limits(None, None, None, None).files(unified=True) == ()
    assert dict(Limits(None, None, 2, None).files(unified=True)) == {"cpu.weight": "1"}
