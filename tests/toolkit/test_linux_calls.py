"""System calls, rtnetlink and descriptor passing against the real kernel."""

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fairway.toolkit import fds, linux
from fairway.toolkit.netlink import Netlink


def in_child(body: Callable[[], None]) -> str:
    """Run in a forked process; its error, empty when all was well."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            body()
        except BaseException as error:
            os.write(writing, repr(error).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return text


def test_errors_name_what_was_tried():
    with pytest.raises(FileNotFoundError, match="umount /no/such"):
        linux.umount("/no/such")
    with pytest.raises(OSError) as caught:
        linux.setns(0)
    assert caught.value.errno == errno.EINVAL


def test_descriptors_are_passed_close_on_exec(tmp_path):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with left, right, open(tmp_path / "file", "w+b") as file:
        file.write(b"hello")
        file.flush()
        fds.send(left, b"here", (file.fileno(), file.fileno()))
        payload, received = fds.receive(right, 100)
        assert payload == b"here" and len(received) == 2
        assert os.pread(received[0], 5, 0) == b"hello"
        assert not any(os.get_inheritable(fd) for fd in received)
        for fd in received:
            os.close(fd)
        fds.send(left, b"alone")
        assert fds.receive(right, 100) == (b"alone", ())
        before = set(os.listdir("/proc/self/fd"))
        fds.send(left, b"many", (file.fileno(),) * 9)
        with pytest.raises(ConnectionError):
            fds.receive(right, 100, most_fds=4)
        assert set(os.listdir("/proc/self/fd")) <= before
        left.close()
        assert fds.receive(right, 100) == (b"", ())


@pytest.mark.real
def test_mounts_by_descriptor(tmp_path):
    def body() -> None:
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        tree = linux.new_filesystem("tmpfs", (("size", "1m"), ("mode", "700")))
        target = os.open(tmp_path, os.O_PATH)
        linux.move_mount(tree, target)
        assert (os.stat(tmp_path).st_mode & 0o777) == 0o700
        (tmp_path / "x").write_text("x")
        copy = linux.open_tree(str(tmp_path))
        linux.mount_setattr(copy, set_flags=linux.MOUNT_ATTR_RDONLY, recursive=True)
        (tmp_path / "below").mkdir()
        linux.move_mount(copy, os.open(tmp_path / "below", os.O_PATH))
        try:
            (tmp_path / "below" / "y").write_text("y")
        except OSError as error:
            assert error.errno == errno.EROFS
        else:
            raise AssertionError("written to a read-only mount")
        (tmp_path / "link").symlink_to("x")
        try:
            linux.openat2(linux.AT_FDCWD, str(tmp_path / "link"), os.O_RDONLY, linux.RESOLVE_NO_SYMLINKS)
        except OSError as error:
            assert error.errno == errno.ELOOP
        else:
            raise AssertionError("followed a link")

    assert in_child(body) == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_links_addresses_and_routes(tmp_path):
    def body() -> None:
        there = tmp_path / "net"
        there.touch()
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWNET)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("/proc/self/ns/net", str(there), None, linux.MS_BIND)
        linux.unshare(linux.CLONE_NEWNET)
        with Netlink() as here, Netlink.inside(str(there)) as inside:
            here.set_up(1)
            here.add_bridge("bridge")
            index = here.link_index("bridge")
            assert index is not None
            here.set_up(index)
            for _ in range(2):
                here.add_address(index, "10.1.0.1/32")
                here.add_route("10.2.0.0/16", index, source="10.1.0.1")
                here.add_unreachable("10.3.0.0/16")
            here.add_veth("left", "right", os.open(there, os.O_RDONLY))
            try:
                here.add_veth("left", "right2", os.open(there, os.O_RDONLY))
            except FileExistsError as error:
                assert "add left" in str(error)
            else:
                raise AssertionError("made twice")
            assert inside.link_index("right") and here.link_index("right") is None
            routes = Path("/proc/thread-self/net/route").read_text()
            assert "0000020A" in routes and "0000030A" in routes
            here.delete_route("10.2.0.0/16")
            here.delete_route("10.2.0.0/16")
            assert "0000020A" not in Path("/proc/thread-self/net/route").read_text()
            here.delete_link("left")
            here.delete_link("left")
            assert inside.link_index("right") is None

    assert in_child(body) == ""


@pytest.mark.real
def test_sibling_is_a_child_of_the_parent():
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        sibling = linux.fork_sibling()
        if sibling == 0:
            os._exit(7)
        os.write(writing, str(sibling).encode())
        os._exit(0)
    os.waitpid(child, 0)
    sibling = int(os.read(reading, 100))
    assert os.waitstatus_to_exitcode(os.waitpid(sibling, 0)[1]) == 7
    os.close(reading)
    os.close(writing)
