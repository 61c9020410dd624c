"""What a container is told to run: the commands of a group of RUN, and the files that are mounted for them."""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from fairway.delivery.builds import run_steps
from fairway.delivery.builds.parts import Part
from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.build import StageMaker
from fairway.toolkit.oci.build_copy import Files
from fairway.toolkit.oci.context import ContextError, Source
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction
from fairway.toolkit.oci.run_flags import RunMount

_VERSION = 1
"""Part of every key: raise it when the same commands would leave other layers."""
_PROGRAM = Path(run_steps.__file__)


class Command(msgspec.Struct, frozen=True):
    """One RUN: where it stands, how it is shown, and what is executed."""

    line: int
    shown: str
    argv: tuple[str, ...]


class Task(msgspec.Struct, frozen=True):
    """What run_steps.py reads."""

    file: str
    commands: tuple[Command, ...]
    user: str
    working_dir: str
    environment: Mapping[str, str]
    caches: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()


class Bind(msgspec.Struct, frozen=True):
    """Files that are mounted: where from, and what says whether they are the same as the last time."""

    files: Files
    source: Source
    digest: str


class Order(msgspec.Struct, frozen=True):
    """A task, the texts that it executes, its mounted files, and the key of what it leaves."""

    task: Task
    scripts: Mapping[str, str]
    binds: tuple[tuple[int, Bind], ...]
    key: str


def order(maker: StageMaker, part: Part, file: str, key_length: int) -> Order:
    """What the group of a part is, run in the image that the maker has made so far. Raises DockerfileError."""
    scripts: dict[str, str] = {}
    commands = tuple(_command(one, maker.shell, scripts) for one in part.runs)
    task = Task(
        file,
        commands,
        maker.draft.run.user or "",
        maker.working_dir,
        {**maker.proxies, **maker.variables},
        tuple(mount.target for mount in part.mounts if mount.kind == "cache"),
        tuple(mount.env for mount in part.mounts if mount.env),
    )
    wanted = [mount for mount in part.mounts if mount.kind == "bind"]
    binds = tuple((number, _bind(maker, part, mount)) for number, mount in enumerate(wanted))
    says = (
        _VERSION,
        maker.draft.diff_ids,
        [one.argv for one in commands],
        scripts,
        (task.user, task.working_dir, sorted(maker.variables.items())),
        part.mounts,
        part.has_network,
        [(number, bind.digest) for number, bind in binds],
    )
    key = hashlib.sha256(msgspec.json.encode(says)).hexdigest()[:key_length]
    return Order(task, scripts, binds, key)


def write(order: Order, path: Path) -> None:
    """The archive that the pod gets: the program, its task, scripts, and below `binds/` what is mounted."""
    with tarfile.open(path, "w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar:
        _add(tar, "task/run.py", _PROGRAM.read_bytes())
        _add(tar, "task/task.json", msgspec.json.encode(order.task))
        for name, text in order.scripts.items():
            _add(tar, f"task/{name}", text.encode())
        for number, bind in order.binds:
            for source, name in _entries(bind.files, bind.source):
                _add_source(tar, bind.files, source, posixpath.join(f"binds/{number}", name).rstrip("/"))


def _command(one: Instruction, shell: tuple[str, ...], scripts: dict[str, str]) -> Command:
    """The exec form as it is, else the shell's text; a here-document alone is a script."""
    array = dockerfile.json_form(one.arguments)
    text, said = one.arguments, str(msgspec.structs.replace(one, flags={}))
    if array:
        return Command(one.line, said, array)
    if len(one.heredocs) == 1 and len(text.split()) == 1:
        script = one.heredocs[0].text
        shown = f"{said} {script.strip().splitlines()[0] if script.strip() else ''} …"
        if script.startswith("#!"):
            scripts[f"script-{one.line}"] = script
            return Command(one.line, shown, (f"{run_steps.PLACE}/task/script-{one.line}",))
        return Command(one.line, shown, (*shell, script))
    for heredoc in one.heredocs:
        text += f"\n{heredoc.text}{heredoc.name}"
    return Command(one.line, said, (*shell, text + "\n" * bool(one.heredocs)))


def _bind(maker: StageMaker, part: Part, mount: RunMount) -> Bind:
    one = part.runs[0]
    try:
        files = maker.files_of(one, mount.source_of)
        found = files.match(mount.source or ".")
        if len(found) != 1:
            raise ContextError(f"source={mount.source} names {len(found)} files; name one file or folder")
        if mount.source_of:  # an image does not change under its id
            return Bind(files, found[0], f"{maker.image_of(one, mount.source_of).id} {mount.source}")
        return Bind(files, found[0], _digest(files, found[0]))
    except ContextError as error:
        raise DockerfileError(one.line, f"--mount=type=bind: {error}") from error


def _entries(files: Files, top: Source) -> Iterator[tuple[Source, str]]:
    yield top, ""
    if top.is_folder:
        for source in files.walk(top):
            yield source, posixpath.relpath(source.path, top.path or ".")


def _digest(files: Files, top: Source) -> str:
    found = hashlib.sha256()
    for source, name in _entries(files, top):
        found.update(f"{name}\0{source.portable_mode}\0{source.link}\0".encode("utf-8", "surrogateescape"))
        if source.link is None and not source.is_folder:
            with files.opener(source)() as file:
                while piece := file.read(1 << 20):
                    found.update(piece)
                found.update(b"\0")
    return found.hexdigest()


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o755
    tar.addfile(info, io.BytesIO(data))


def _add_source(tar: tarfile.TarFile, files: Files, source: Source, name: str) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.mtime = source.portable_mode, source.mtime
    if source.link is not None:
        info.type, info.linkname = tarfile.SYMTYPE, source.link
        tar.addfile(info)
    elif source.is_folder:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    else:
        with files.opener(source)() as file:
            info.size = file.seek(0, 2)
            file.seek(0)
            tar.addfile(info, file)
