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

    Links are made after all files, so that no file is ever written through one of the same archive. The folder may hold
    links already, of the commit or of another archive, and several together may lead where none of them does alone:
    so a file is only written where its folder really is inside, and a link that leads out in the end is taken away.
    """
    inside = _Inside(folder)
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
                    inside.check(folder / path if entry.isdir() else (folder / path).parent, path)
                    _write(entries, entry, folder / path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BadArtifacts(f"the artifacts cannot be unpacked: {_reason(error)}") from error
    made = [spot for path, target in links if (spot := _link(folder, path, target)) is not None]
    for spot in made:
        if not inside.holds(spot):
            spot.unlink()
    return count


class _Inside:
    """Whether paths are in a folder as the kernel sees them; what was found once holds until links are made."""

    def __init__(self, folder: Path) -> None:
        self._root = os.path.realpath(folder)
        self._good: set[Path] = set()

    def check(self, path: Path, name: str) -> None:
        """Raises BadArtifacts."""
        if path not in self._good:
            if not self.holds(path):
                raise BadArtifacts(f"{name[:100]!r} lies behind a link that leads out of the project's folder")
            self._good.add(path)

    def holds(self, path: Path) -> bool:
        real = os.path.realpath(path)
        return real == self._root or real.startswith(f"{self._root}/")


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


def _link(folder: Path, path: str, target: str) -> Path | None:
    """A link, unless it leads out: of those nothing is made. Where it is, if it was made."""
    place = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if not path or target.startswith("/") or place == ".." or place.startswith("../"):
        return None
    spot = folder / path
    if os.path.realpath(spot.parent) != str(Path(os.path.realpath(folder)) / os.path.dirname(path)).rstrip("/"):
        return None  # below another link
    spot.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(spot):
        return None
    spot.symlink_to(target)
    return spot


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
