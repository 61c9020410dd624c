"""hostPath volumes: only what the node's owner allows, and of the type that the pod expects."""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from fairway.engine.kubelet.errors import VolumeProblem
from fairway.kube.api.pods import HostPathVolume

_TYPES: Mapping[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "directory"),
    "File": (stat.S_ISREG, "file"),
    "FileOrCreate": (stat.S_ISREG, "file"),
    "Socket": (stat.S_ISSOCK, "socket file"),
    "CharDevice": (stat.S_ISCHR, "character device"),
    "BlockDevice": (stat.S_ISBLK, "block device"),
}


def host_path(volume: str, source: HostPathVolume, allow_list: tuple[str, ...]) -> Path:
    """The real path of the node, made first where the type asks for it.  Raises VolumeProblem."""
    path = Path(os.path.realpath(source.path))
    if root(path, allow_list) is None:
        link = f", a link to {path}," if str(path) != os.path.normpath(source.path) else ""
        raise VolumeProblem(
            volume,
            f'hostPath "{source.path}"{link} is not allowed on this node: '
            f"start the cluster with `fairway up --allow-host-path {path}`, or use another kind of volume",
        )
    try:
        _create(path, source.type)
        mode = path.stat().st_mode if source.type else None
    except FileNotFoundError:
        mode = 0
    except OSError as error:
        raise VolumeProblem(volume, f"hostPath {source.path}: {error}") from error
    if mode is not None:
        check, words = _TYPES.get(source.type, (lambda _: False, source.type))
        if not check(mode):
            raise VolumeProblem(volume, f"hostPath type check failed: {source.path} is not a {words}")
    return path


def root(path: Path, allow_list: tuple[str, ...]) -> Path | None:
    """The allowed folder that a real path is in; None when there is none."""
    return next((Path(allowed) for allowed in allow_list if path.is_relative_to(PurePosixPath(allowed))), None)


def _create(path: Path, type: str) -> None:
    if type == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif type == "FileOrCreate" and not path.exists():
        path.touch(mode=0o644)
