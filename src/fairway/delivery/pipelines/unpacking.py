"""Archives that builds made, unpacked on the platform's side: nothing in them can reach out of the folder."""

import os
import tarfile
from pathlib import Path

FILES_MAX = 200_000
BYTES_MAX = 4 << 30
_DEPTH_MAX = 64


class BadArtifacts(Exception):
    """An archive that is not taken; the message names the entry and the limit."""


def unpack(archive: Path, folder: Path, *, files_max: int = FILES_MAX, bytes_max: int = BYTES_MAX) -> int:
    """Unpack files, folders and links that stay inside; returns how many entries. Raises BadArtifacts, OSError.

    Links are made after all files, so that no file is ever written through one.
    """
    links: list[tuple[str, str]] = []
    count, left = 0, bytes_max
    try:
        with tarfile.open(archive, mode="r|gz") as entries:
            for entry in entries:
                count += 1
                path = _checked(entry.name)
                left -= entry.size
                if count > files_max or left < 0:
                    raise BadArtifacts(f"the artifacts have more than {files_max} files or {bytes_max} bytes")
                if entry.issym():
                    links.append((path, entry.linkname))
                elif path:
                    _write(entries, entry, folder / path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadArtifacts(f"the artifacts cannot be unpacked: {_reason(error)}") from error
    for path, target in links:
        _link(folder, path, target)
    return count


def _checked(name: str) -> str:
    """A relative path without surprises."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or len(parts) > _DEPTH_MAX
    if bad or any(len(part.encode()) > 255 or not part.isprintable() for part in parts):
        raise BadArtifacts(f"{name[:100]!r} is not a path inside the project's folder")
    return "/".join(parts)


def _write(entries: tarfile.TarFile, entry: tarfile.TarInfo, path: Path) -> None:
    if entry.isdir():
        path.mkdir(parents=True, exist_ok=True, mode=0o755)
        return
    if not entry.isreg():  # devices, pipes and hard links are no part of a site or a program
        return
    data = entries.extractfile(entry)
    assert data is not None
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.unlink(missing_ok=True)
    mode = 0o755 if entry.mode & 0o111 else 0o644
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(handle, "wb") as file:
        while piece := data.read(1 << 20):
            file.write(piece)


def _link(folder: Path, path: str, target: str) -> None:
    """A link, unless it leads out: of those nothing is made."""
    place = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if not path or target.startswith("/") or place == ".." or place.startswith("../"):
        return
    spot = folder / path
    if os.path.realpath(spot.parent) != str(Path(os.path.realpath(folder)) / os.path.dirname(path)).rstrip("/"):
        return  # below another link
    spot.parent.mkdir(parents=True, exist_ok=True)
    if not os.path.lexists(spot):
        spot.symlink_to(target)


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
