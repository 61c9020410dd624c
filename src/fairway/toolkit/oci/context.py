"""The folder that an image is built from: what may be copied, and nothing outside it."""

import errno
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from fairway.toolkit.oci import beneath

IGNORE_FILE = ".dockerignore"
_IGNORE_FILE_BYTES_MAX = 1 << 20


class ContextError(Exception):
    """A path that cannot or must not be copied; the message names it."""


class Source(msgspec.Struct, frozen=True):
    """One thing in the context: `path` is relative to it ("" is the folder itself); `name` is what a copy is called.

    What comes out of an image keeps its mode, owner, time and attributes: it is `exact`.
    """

    path: str
    mode: int
    link: str | None = None
    name: str = ""
    exact: bool = False
    owner: tuple[int, int] = (0, 0)
    mtime: int = 0
    attributes: Mapping[str, bytes] = {}

    @property
    def is_folder(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def portable_mode(self) -> int:
        """755 or 644, whatever the umask of the checkout was: what git keeps too."""
        if self.exact:
            return stat.S_IMODE(self.mode)
        return 0o755 if self.is_folder or self.mode & 0o111 else 0o644


class Context:
    """A folder opened once; every later look goes through it without following links out."""

    def __init__(self, folder: Path, ignore_text: str | None = None) -> None:
        """`ignore_text` stands for the folder's .dockerignore. Raises ContextError if `folder` is none."""
        try:
            self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ContextError(f"{folder}: {error.strerror}") from error
        text = self.read(IGNORE_FILE, _IGNORE_FILE_BYTES_MAX) or b"" if ignore_text is None else b""
        self._ignored = ignore_rules(text.decode("utf-8", "replace") if ignore_text is None else ignore_text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._root)

    def match(self, pattern: str) -> tuple[Source, ...]:
        """What a COPY source names, sorted; a pattern may have * ? [ ]. Raises ContextError."""
        path = posixpath.normpath(pattern.lstrip("/"))
        if path == ".." or path.startswith("../"):
            raise ContextError(f"{pattern!r} is outside the build folder; only files inside it can be copied")
        if path == ".":
            return (Source("", stat.S_IFDIR | 0o755),)
        if not any(char in path for char in "*?["):
            return (self._followed(path, pattern),)
        wanted = re.compile(glob(path) + r"\Z")
        found = tuple(source.path for source in self._below("", path.count("/")) if wanted.match(source.path))
        if not found:
            raise ContextError(f"no file in the build folder matches {pattern!r}")
        return tuple(self._followed(path, path) for path in found)

    def walk(self, top: Source) -> Iterator[Source]:
        """Everything below a folder, sorted by path, folders before what they contain. Raises ContextError."""
        for source in self._below(top.path, None):
            if source.link is not None:
                self._inside(source)
            else:
                _check_kind(source)
            yield source

    def opener(self, source: Source) -> Callable[[], BinaryIO]:
        """Opens the file later, still without following links."""

        def open_file() -> BinaryIO:
            handle = beneath.open_without_links(self._root, source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                os.close(handle)
                raise ContextError(f"{source.path!r} is not a regular file any more")
            return os.fdopen(handle, "rb")

        return open_file

    def has_file(self, path: str) -> bool:
        """Whether a path names a regular file that may be copied."""
        try:
            return stat.S_ISREG(self._followed(path, path).mode)
        except ContextError:
            return False

    def read(self, path: str, limit_bytes: int) -> bytes | None:
        """A small file; None if there is none. Raises ContextError if it is larger."""
        try:
            handle = beneath.open_in_root(self._root, path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with os.fdopen(handle, "rb") as file:
            data = file.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise ContextError(f"{path!r} is larger than {limit_bytes} bytes")
        return data

    def _followed(self, path: str, pattern: str) -> Source:
        """A named source; a link is followed if it stays inside."""
        name = posixpath.basename(path)
        for _ in range(40):
            if self._ignored(path):
                raise ContextError(f"{pattern!r} is excluded by .dockerignore")
            source = self._look(path, pattern)
            if source.link is None:
                _check_kind(source)
                return msgspec.structs.replace(source, name=name)
            path = self._inside(source)
        raise ContextError(f"{pattern!r}: {os.strerror(errno.ELOOP)}")

    def _look(self, path: str, shown: str) -> Source:
        try:
            handle = beneath.open_without_links(self._root, path, os.O_PATH | os.O_NOFOLLOW)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ContextError(f"{shown!r} goes through a symbolic link; name the real path") from error
            raise ContextError(f"{shown!r} is not in the build folder ({error.strerror})") from error
        try:
            mode = os.fstat(handle).st_mode
            link = os.readlink("", dir_fd=handle) if stat.S_ISLNK(mode) else None
        finally:
            os.close(handle)
        return Source(path, mode, link)

    def _below(self, top: str, depth: int | None) -> Iterator[Source]:
        try:
            handle = beneath.open_without_links(self._root, top, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise ContextError(f"{top!r}: {error.strerror}") from error
        with os.scandir(handle) as entries:
            names = sorted(entry.name for entry in entries)
        os.close(handle)
        for name in names:
            path = f"{top}/{name}" if top else name
            ignored = self._ignored(path)
            source = self._look(path, path)
            if not ignored:
                yield source
            if source.is_folder and depth != 0:
                yield from self._below(path, None if depth is None else depth - 1)

    def _inside(self, source: Source) -> str:
        """Where a link leads, relative to the context. Raises ContextError if that is outside."""
        link = source.link or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source.path), link))
        if link.startswith("/") or target == ".." or target.startswith("../"):
            raise ContextError(
                f"{source.path!r} is a symbolic link to {link!r}, outside the build folder; copy the file into it, "
                "or exclude the link in .dockerignore"
            )
        return target


def _check_kind(source: Source) -> None:
    if not (stat.S_ISREG(source.mode) or stat.S_ISDIR(source.mode)):
        raise ContextError(f"{source.path!r} is neither a file nor a folder nor a link; it cannot be copied")


def ignore_rules(text: str) -> Callable[[str], bool]:
    """The rules of a .dockerignore file as a question about a path: the last rule that fits decides."""
    rules = tuple(_rules(text.splitlines()))

    def ignored(path: str) -> bool:
        verdict = False
        for wanted, excludes in rules:
            if excludes != verdict and wanted.match(path):
                verdict = excludes
        return verdict

    return ignored


def _rules(lines: Iterable[str]) -> Iterator[tuple[re.Pattern[str], bool]]:
    for line in lines:
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        excludes = not rule.startswith("!")
        path = posixpath.normpath(rule.removeprefix("!").strip().lstrip("/"))
        yield re.compile(glob(path) + r"(?:/.*)?\Z", re.DOTALL), excludes


def glob(pattern: str) -> str:
    """A path pattern (`*` `?` `[a-z]`, and `**` for any number of folders) as a regular expression."""
    text, position = "", 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            text, position = text + "(?:.*/)?", position + 3
        elif rest.startswith("**"):
            text, position = text + ".*", position + 2
        elif rest[0] in "*?":
            text, position = text + ("[^/]*" if rest[0] == "*" else "[^/]"), position + 1
        elif rest[0] == "[" and "]" in rest[2:]:
            end = rest.index("]", 2)
            body = rest[1:end].replace("\\", r"\\").replace("[", r"\[")
            text, position = text + "[" + body + "]", position + end + 1
        else:
            text, position = text + re.escape(rest[0]), position + 1
    return text
