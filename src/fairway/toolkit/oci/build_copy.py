"""COPY and ADD: what they name, from where, and what becomes of it in a layer."""

import bz2
import lzma
import posixpath
import re
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn, Protocol, cast

import msgspec

from fairway.toolkit.oci import accounts, dockerfile, shell_words
from fairway.toolkit.oci.context import ContextError, Source, ignore_rules
from fairway.toolkit.oci.dockerfile import DockerfileError, Heredoc, Instruction
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.members import parts_of
from fairway.toolkit.oci.stack import Place
from fairway.toolkit.oci.streams import BadArchive, LayerReader

_FLAGS = {
    "COPY": ("from", "chown", "chmod", "link", "exclude", "parents"),
    "ADD": ("chown", "chmod", "link", "exclude", "checksum", "keep-git-dir"),
}
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_ARCHIVE_BYTES_MAX, _ARCHIVE_FILES_MAX = 4 << 30, 200_000
_REMOTE = re.compile(r"(?:https?|ftp|git|ssh)://|git@", re.IGNORECASE)
_SYMBOLIC = re.compile(r"(?:[ugoa]*[-+=][rwxX]*,?)+\Z")


class Files(Protocol):
    """Something to copy from: a build folder, or the files of an image."""

    def match(self, pattern: str) -> tuple[Source, ...]: ...
    def walk(self, top: Source) -> Iterator[Source]: ...
    def opener(self, source: Source) -> Callable[[], BinaryIO]: ...


class Copy(msgspec.Struct, frozen=True):
    """A COPY or ADD, read. Without `owner` and `mode` things keep theirs."""

    instruction: Instruction
    patterns: tuple[str, ...]
    target: str
    texts: tuple[Heredoc, ...] = ()
    owner: tuple[int, int] | None = None
    mode: str = ""
    excludes: tuple[str, ...] = ()
    keeps_parents: bool = False


def read(instruction: Instruction, variables: Mapping[str, str], layers: Sequence[str]) -> Copy:
    """What an instruction says; `layers` know the names of users. Raises DockerfileError."""
    for flag in instruction.flags:
        if flag not in _FLAGS[instruction.keyword]:
            _refuse(instruction, f"--{flag} is not supported")
    *patterns, target = dockerfile.words(instruction, variables) or ("",)
    names = {heredoc.name for heredoc in instruction.heredocs}
    plain = tuple(one for one in patterns if one.lstrip("<-") not in names or not one.startswith("<<"))
    if not patterns:
        _refuse(instruction, f"{instruction.keyword} needs at least one source and a destination")
    for pattern in plain:
        if _REMOTE.match(pattern) and not instruction.flag("from"):
            _refuse(
                instruction,
                f"{pattern!r}: nothing is downloaded while building; put the file into the repository, "
                "or fetch it with curl or wget in a RUN",
            )
    return Copy(
        instruction,
        plain,
        target,
        tuple(_expanded(instruction, one, variables) for one in instruction.heredocs),
        _owner(instruction, dockerfile.expand(instruction, instruction.flag("chown"), variables), layers),
        _mode(instruction, dockerfile.expand(instruction, instruction.flag("chmod"), variables)),
        tuple(dockerfile.expand(instruction, text, variables) for text in instruction.flags.get("exclude", ())),
        instruction.flag("parents") not in ("", "false"),
    )


@contextmanager
def scratch(folder: Path) -> Iterator[BinaryIO]:
    """A file without a name, for what an archive unpacks to."""
    with tempfile.TemporaryFile(dir=folder) as spool:
        yield cast(BinaryIO, spool)


def entries(copy: Copy, files: Files, target: Place, spool: BinaryIO) -> Iterable[Entry]:
    """The entries of the layer; `target` is what is there now. Raises DockerfileError, ContextError, OSError."""
    instruction, wanted = copy.instruction, copy.target
    sources = [source for pattern in copy.patterns for source in files.match(pattern)]
    if copy.excludes:
        ignored = ignore_rules("\n".join(copy.excludes))
        sources = [one for one in sources if one.is_folder or not (ignored(one.path) or ignored(one.name))]
        files = _Excluding(files, ignored)
    into_folder = wanted.endswith(("/", "/.")) or wanted in (".", "") or target.is_folder or copy.keeps_parents
    count = len(sources) + len(copy.texts)
    if count > 1 and not into_folder:
        _refuse(instruction, f"several sources need a destination that ends with '/', not {wanted!r}")
    for text in copy.texts:
        path = posixpath.join(target.path, text.name) if into_folder else target.path
        yield _finished(copy, Entry(path, mode=0o644, data=text.text.encode()))
    for source in sources:
        for entry in _of_source(copy, files, source, target.path, into_folder, spool):
            yield _finished(copy, entry)


def entry(files: Files, source: Source, path: str) -> Entry:
    """A thing at a path of the image."""
    made = Entry(path, uid=source.owner[0], gid=source.owner[1], mtime=source.mtime, attributes=source.attributes)
    if source.link is not None:
        return msgspec.structs.replace(made, target=source.link)
    made = msgspec.structs.replace(made, mode=source.portable_mode)
    return made if source.is_folder else msgspec.structs.replace(made, source=files.opener(source))


def _of_source(
    copy: Copy, files: Files, source: Source, target: str, into_folder: bool, spool: BinaryIO
) -> Iterator[Entry]:
    if copy.keeps_parents:
        target = posixpath.join(target, posixpath.dirname(source.path))
        if source.is_folder:
            target = posixpath.join(target, posixpath.basename(source.path))
    if source.is_folder:
        if target:
            yield entry(files, msgspec.structs.replace(source, mtime=0), target)
        for inner in files.walk(source):
            path = posixpath.relpath(inner.path, source.path or ".")
            yield entry(files, inner, posixpath.join(target, path))
        return
    if copy.instruction.keyword == "ADD" and _is_archive(files, source):
        yield from _unpacked(files, source, target, spool)
        return
    yield entry(files, source, posixpath.join(target, source.name) if into_folder else target)


class _Excluding:
    """The same without what `--exclude` names, seen from the folder that is copied."""

    def __init__(self, files: Files, ignored: Callable[[str], bool]) -> None:
        self._files = files
        self._ignored = ignored
        self.match = files.match
        self.opener = files.opener

    def walk(self, top: Source) -> Iterator[Source]:
        for source in self._files.walk(top):
            if not self._ignored(posixpath.relpath(source.path, top.path or ".")):
                yield source


def _finished(copy: Copy, made: Entry) -> Entry:
    if copy.owner is not None:
        made = msgspec.structs.replace(made, uid=copy.owner[0], gid=copy.owner[1])
    if copy.mode and made.target is None and made.hard is None:
        made = msgspec.structs.replace(made, mode=_changed_mode(made.mode, copy.mode, made.is_folder))
    return made


def _is_archive(files: Files, source: Source) -> bool:
    if source.link is not None:
        return False
    with files.opener(source)() as file:
        head = file.read(512)
    return head.startswith(_ARCHIVES) or head[257:262] == b"ustar"


def _unpacked(files: Files, source: Source, target: str, spool: BinaryIO) -> Iterator[Entry]:
    """An archive's files below the target; nothing in it can lead elsewhere than into the image."""
    begin = spool.seek(0, 2)
    try:
        with files.opener(source)() as file:
            _inflate(file, spool)
        spool.seek(begin)
        tar = tarfile.open(fileobj=spool, mode="r:")  # noqa: SIM115  # its files are read later
        for count, member in enumerate(tar):
            if count >= _ARCHIVE_FILES_MAX:
                raise ContextError(f"{source.path!r} has more than {_ARCHIVE_FILES_MAX} files")
            made = _member(tar, member, target)
            if made is not None:
                yield made
    except (tarfile.TarError, BadArchive, EOFError, lzma.LZMAError, ValueError) as error:
        raise ContextError(f"{source.path!r} cannot be unpacked: {error}") from error


def _inflate(file: BinaryIO, spool: BinaryIO) -> None:
    head = file.read(6)
    file.seek(0)
    reader: BinaryIO | LayerReader
    if head.startswith(b"BZh"):
        reader = cast(BinaryIO, bz2.BZ2File(file))  # closed with `file`
    elif head.startswith(b"\xfd7zXZ"):
        reader = cast(BinaryIO, lzma.LZMAFile(file))  # noqa: SIM115  # closed with `file`
    else:
        reader = LayerReader(file, _ARCHIVE_BYTES_MAX)
    size_bytes = 0
    while piece := reader.read(1 << 18):
        size_bytes += len(piece)
        if size_bytes > _ARCHIVE_BYTES_MAX:
            raise BadArchive(f"it unpacks to more than {_ARCHIVE_BYTES_MAX} bytes")
        spool.write(piece)


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> Entry | None:
    path = posixpath.join(target, *parts_of(member.name))
    if not parts_of(member.name):
        return None
    made = Entry(path, mode=member.mode & 0o7777, uid=member.uid & 0x7FFFFFFF, gid=member.gid & 0x7FFFFFFF)
    if member.isdir():
        return made
    made = msgspec.structs.replace(made, mtime=max(int(member.mtime), 0))
    if member.issym():
        return msgspec.structs.replace(made, target=member.linkname)
    if member.islnk():
        return msgspec.structs.replace(made, hard=posixpath.join(target, *parts_of(member.linkname)))
    if not member.isreg():
        return None
    return msgspec.structs.replace(made, source=lambda: cast(BinaryIO, tar.extractfile(member)))


def _expanded(instruction: Instruction, heredoc: Heredoc, variables: Mapping[str, str]) -> Heredoc:
    if not heredoc.expands:
        return heredoc
    try:
        text = shell_words.expand_only(heredoc.text, variables, instruction.escape)
    except shell_words.BadWord as error:
        _refuse(instruction, f"in the here-document {heredoc.name}: {error}; quote its name to keep it as it is")
    return msgspec.structs.replace(heredoc, text=text)


def _mode(instruction: Instruction, text: str) -> str:
    is_octal = text.isdecimal() and not set(text) & set("89") and len(text) <= 5
    if text and not is_octal and not _SYMBOLIC.match(text):
        _refuse(instruction, f"--chmod={text} is not an octal number such as 755, nor like u+x")
    return text


def _changed_mode(mode: int, change: str, is_folder: bool) -> int:
    if change.isdecimal():
        return int(change, 8) & 0o7777
    for clause in change.split(","):
        who, operator, what = cast(re.Match[str], re.match(r"([ugoa]*)([-+=])([rwxX]*)", clause)).groups()
        shifts = [{"u": 6, "g": 3, "o": 0}[one] for one in ("ugo" if not who or "a" in who else who)]
        bits = sum({"r": 4, "w": 2}.get(one, 0) for one in set(what))
        bits |= 1 if "x" in what or ("X" in what and (is_folder or mode & 0o111)) else 0
        for shift in shifts:
            mode = mode & ~(7 << shift) if operator == "=" else mode
            mode = mode & ~(bits << shift) if operator == "-" else mode | bits << shift
    return stat.S_IMODE(mode)


def _owner(instruction: Instruction, text: str, layers: Sequence[str]) -> tuple[int, int] | None:
    if not text:
        return None
    try:
        return accounts.owner_of(layers, text)
    except accounts.UnknownAccount as error:
        _refuse(instruction, f"--chown: {error}")


def _refuse(instruction: Instruction, problem: str) -> NoReturn:
    raise DockerfileError(instruction.line, problem)
