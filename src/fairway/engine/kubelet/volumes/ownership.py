"""fsGroup: the files of a volume belong to the pod's group, and so does what is written later."""

import os
from pathlib import Path

from fairway.toolkit import linux

_SETGID = 0o2000
_WRITABLE = 0o660
_READABLE = 0o440
_SEARCH = 0o110


def give_to_group(folder: Path, group: int, *, read_only: bool) -> None:
    """Change the group of everything in `folder` and let it in.  Source: upstream SetVolumeOwnership."""
    for place, _, names in os.walk(folder):
        _give(place, group, read_only=read_only, is_folder=True)
        for name in names:
            path = os.path.join(place, name)
            if not os.path.islink(path):
                _give(path, group, read_only=read_only, is_folder=False)


def _give(path: str, group: int, *, read_only: bool, is_folder: bool) -> None:
    if linux.ids_mapped() > 1:  # otherwise root is the only user and the only group, and has everything
        os.chown(path, -1, group, follow_symlinks=False)
    bits = _READABLE if read_only else _WRITABLE
    if is_folder:
        bits |= _SETGID | _SEARCH
    os.chmod(path, (os.stat(path, follow_symlinks=False).st_mode & 0o7777) | bits)
