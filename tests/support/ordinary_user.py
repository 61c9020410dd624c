"""Commands as an ordinary user, without one on this machine: account files and Python are put in a private mount
namespace."""

import os
import shlex
import sys
from pathlib import Path

import shared

import fairway

UID = 65000 + shared.worker()
SUBORDINATES = 65536
FIRST_SUBORDINATE = 2_000_000 + SUBORDINATES * shared.worker()
_ACCOUNTS = {
    "passwd": f"root:x:0:0:root:/root:/bin/sh\nordinary:x:{UID}:{UID}::{{home}}:/bin/sh\n",
    "group": f"root:x:0:\nordinary:x:{UID}:\n",
}


def prefix(home: Path, *, subordinate: bool, tunnel: bool = False) -> tuple[str, ...]:
    """What to put before a command; `home` becomes the user's.

    With `subordinate` ids the user has a range of them; with `tunnel` everybody may use /dev/net/tun, as udev has it.
    """
    os.chown(home, UID, UID)
    files = home.with_name(home.name + "-etc")
    files.mkdir(exist_ok=True)
    ids = f"ordinary:{FIRST_SUBORDINATE}:{SUBORDINATES}\n" if subordinate else ""
    for name, text in {**_ACCOUNTS, "subuid": ids, "subgid": ids}.items():
        (files / name).write_text(text.format(home=home))
    script = [
        *_uncover(files),
        *(f"mount --bind {files}/{name} /etc/{name}" for name in (*_ACCOUNTS, "subuid", "subgid")),
    ]
    if tunnel:
        script += [f"mknod -m 0666 {files}/tun c 10 200", f"mount --bind {files}/tun /dev/net/tun"]
    become = f"setpriv --reuid {UID} --regid {UID} --clear-groups env HOME={shlex.quote(str(home))}"
    script.append(f'cd / && exec {become} "$@"')
    return ("unshare", "-m", "--propagation", "private", "sh", "-ec", "\n".join(script), "sh")


def _uncover(scratch: Path) -> list[str]:
    """Let the user reach Python and the package where only root may."""
    script: list[str] = []
    for number, path in enumerate((sys.base_prefix, sys.prefix, str(Path(fairway.__file__).parent.parent))):
        closed = next((parent for parent in reversed(Path(path).parents) if not parent.stat().st_mode & 1), None)
        if closed:
            held = scratch / f"held-{number}"
            held.mkdir(exist_ok=True)
            script += [f"mount --bind {path} {held}", f"mount -t tmpfs -o mode=755 tmpfs {closed}"]
            script += [f"mkdir -p {path}", f"mount --bind {held} {path}"]
    return script
