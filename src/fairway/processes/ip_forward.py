"""The host's `net.ipv4.ip_forward`, switched on while any instance needs it and put back by the last one.

The value from before is in a file under /run, which a reboot forgets as it forgets the setting. An instance that was
killed leaves the file: the next one that ends in order puts the setting back.
"""

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec


class Host(msgspec.Struct, frozen=True):
    """Where the host keeps it."""

    setting: Path = Path("/proc/sys/net/ipv4/ip_forward")
    before: Path = Path("/run/fairway-ip-forward")
    links: Path = Path("/sys/class/net")


def switch_on(host: Host) -> None:
    """Let the host forward; what it did before is noted once. Raises OSError."""
    with _alone(host) as noted:
        if host.setting.read_text().strip() != "0":
            return
        os.truncate(noted, 0)
        os.pwrite(noted, b"0", 0)
        host.setting.write_text("1")


def put_back(host: Host, own_link: str, *, others_forward: bool) -> bool:
    """Stop forwarding if an instance began it and nobody needs it any more; whether that was done. Raises OSError.

    Needed it is by another instance, which a link like `own_link` shows, and by whoever else filters what is
    forwarded (`others_forward`): it may have found the setting switched on, and count on that.
    """
    with _alone(host) as noted:
        if os.pread(noted, 1, 0) != b"0" or others_forward or _other_links(host, own_link):
            return False
        os.truncate(noted, 0)
        if host.setting.read_text().strip() != "1":
            return False
        host.setting.write_text("0")
        return True


def _other_links(host: Host, own_link: str) -> bool:
    return any(re.fullmatch(r"fw\d+", name) and name != own_link for name in os.listdir(host.links))


@contextmanager
def _alone(host: Host) -> Iterator[int]:
    """The file of the value from before, held against other instances; empty when nothing was changed."""
    handle = os.open(host.before, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)
