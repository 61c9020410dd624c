"""Build images from Dockerfiles or static files, without running anything."""

import posixpath
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

import msgspec

from fairway.toolkit.oci.context import Context, ContextError, Source
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction, command, expand, pairs, words
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import InvalidReference, Reference
from fairway.toolkit.oci.reference import parse as parse_reference
from fairway.toolkit.oci.stack import look
from fairway.toolkit.oci.store import Image, ImageStore

Tell = Callable[[str], None]
_ARCHIVES = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_REFUSED = {
    "RUN": "RUN is not supported: this builder runs nothing. Do that step before the build and COPY its result",
    "ONBUILD": "ONBUILD is not supported; write the instruction into the image that needs it",
    "SHELL": "SHELL is not supported; write ENTRYPOINT and CMD as JSON arrays",
}
_IGNORED = {
    "HEALTHCHECK": "declare probes where the container is declared",
    "VOLUME": "declare volumes where the container is declared",
}


def build(
    store: ImageStore,
    reference: Reference,
    context: Context,
    instructions: tuple[Instruction, ...],
    base: Callable[[Reference], Image],
    arguments: Mapping[str, str],
    tell: Tell,
) -> Image:
    """Build a Dockerfile's instructions and name the result. `base` brings the image of FROM.

    Raises DockerfileError, ContextError, OSError and what `base` raises.
    """
    return _Builder(store, context, base, arguments, tell).build(instructions).commit(reference)


class _Builder:
    """Walks the instructions. One method per keyword in `_STEPS`."""

    def __init__(
        self,
        store: ImageStore,
        context: Context,
        base: Callable[[Reference], Image],
        arguments: Mapping[str, str],
        tell: Tell,
    ) -> None:
        self._store = store
        self._context = context
        self._base = base
        self._given = arguments
        self._tell = tell
        self._arguments: dict[str, str] = {}
        self._draft: Draft | None = None

    def build(self, instructions: tuple[Instruction, ...]) -> Draft:
        for number, instruction in enumerate(instructions, start=1):
            self._tell(f"step {number}/{len(instructions)}: {instruction}")
            if problem := _REFUSED.get(instruction.keyword):
                raise DockerfileError(instruction.line, problem)
            if self._draft is None and instruction.keyword not in ("FROM", "ARG"):
                raise DockerfileError(instruction.line, f"{instruction.keyword} before FROM")
            try:
                _STEPS[instruction.keyword](self, instruction)
            except ContextError as error:
                raise DockerfileError(instruction.line, str(error)) from error
        if self._draft is None:
            raise DockerfileError(instructions[-1].line, "there is no FROM")
        return self._draft

    @property
    def draft(self) -> Draft:
        if self._draft is None:
            raise AssertionError("checked in build")
        return self._draft

    def _variables(self) -> dict[str, str]:
        environment = dict(pair.partition("=")[::2] for pair in (self.draft.run.env or ())) if self._draft else {}
        return {**self._arguments, **environment}

    def _expanded(self, instruction: Instruction) -> str:
        return expand(instruction.arguments, self._variables())

    def _from(self, instruction: Instruction) -> None:
        if self._draft is not None:
            _refuse(instruction, "a second FROM (multi-stage build) is not supported: without RUN one stage is enough")
        name, _, _ = self._expanded(instruction).partition(" ")
        if name == "scratch":
            self._draft = Draft(self._store, None)
        else:
            try:
                wanted = parse_reference(name)
            except InvalidReference as error:
                _refuse(instruction, f"FROM {name!r}: {error}")
            self._draft = Draft(self._store, self._base(wanted))
        self._arguments = {}  # arguments from before FROM hold for FROM alone

    def _arg(self, instruction: Instruction) -> None:
        name, equals, default = instruction.arguments.partition("=")
        default = expand(default.strip("\"'"), self._variables())
        value = self._given.get(name, default if equals else "")
        self._arguments[name] = value

    def _env(self, instruction: Instruction) -> None:
        added = dict(pairs(instruction, self._variables()))
        current = dict(pair.partition("=")[::2] for pair in self.draft.run.env or ())
        self.draft.note(str(instruction), env=tuple(f"{k}={v}" for k, v in {**current, **added}.items()))

    def _label(self, instruction: Instruction) -> None:
        added = dict(pairs(instruction, self._variables()))
        self.draft.note(str(instruction), labels={**(self.draft.run.labels or {}), **added})

    def _workdir(self, instruction: Instruction) -> None:
        path = posixpath.normpath(posixpath.join(self._workdir_now(), self._expanded(instruction).strip("\"'")))
        place = self.draft.look(path)
        if place.mode is not None and not place.is_folder:
            _refuse(instruction, f"{path} is a file in the image")
        self.draft.note(str(instruction), working_dir=path)
        if place.mode is None:
            self.draft.add([Entry(place.path)], str(instruction))

    def _workdir_now(self) -> str:
        return self.draft.run.working_dir or "/"

    def _user(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction), user=self._expanded(instruction))

    def _expose(self, instruction: Instruction) -> None:
        ports = dict(self.draft.run.exposed_ports or {})
        for word in self._expanded(instruction).split():
            port, _, protocol = word.partition("/")
            numbers = port.split("-")
            if not all(number.isdecimal() and 0 < int(number) < 65536 for number in numbers) or len(numbers) > 2:
                _refuse(instruction, f"{word!r} is not a port such as 80 or 53/udp")
            for number in range(int(numbers[0]), int(numbers[-1]) + 1):
                ports[f"{number}/{protocol or 'tcp'}"] = {}
        self.draft.note(str(instruction), exposed_ports=ports)

    def _entrypoint(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction), entrypoint=command(instruction.arguments), cmd=None)

    def _cmd(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction), cmd=command(instruction.arguments))

    def _stopsignal(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction), stop_signal=self._expanded(instruction))

    def _ignored(self, instruction: Instruction) -> None:
        self._tell(f"  note: {instruction.keyword} is ignored; {_IGNORED[instruction.keyword]}")
        self.draft.note(str(instruction))

    def _maintainer(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction))

    def _copy(self, instruction: Instruction) -> None:
        for flag in instruction.flags:
            if flag not in ("chown", "chmod", "link"):
                _refuse(instruction, f"--{flag} is not supported" + (": copy from the build folder" * (flag == "from")))
        *patterns, target = words(instruction, self._expanded(instruction)) or ("",)
        if not patterns:
            _refuse(instruction, f"{instruction.keyword} needs at least one source and a destination")
        for pattern in patterns:
            if "://" in pattern:
                _refuse(instruction, f"{pattern!r}: nothing is downloaded while building; put the file into the folder")
        sources = [source for pattern in patterns for source in self._context.match(pattern)]
        owner = _owner(instruction, self.draft.folders)
        mode = _mode(instruction)
        entries = [
            msgspec.structs.replace(entry, uid=owner[0], gid=owner[1], mode=mode or entry.mode)
            for entry in self._entries(instruction, sources, target)
        ]
        self.draft.add(entries, str(instruction))

    def _entries(self, instruction: Instruction, sources: Sequence[Source], target: str) -> Iterable[Entry]:
        place = self.draft.look(posixpath.join(self._workdir_now(), target))
        into_folder = target.endswith(("/", "/.")) or target == "." or place.is_folder
        if len(sources) > 1 and not into_folder:
            _refuse(instruction, f"several sources need a destination that ends with '/', not {target!r}")
        for source in sources:
            if source.is_folder:
                yield from self._folder(source, place.path)
                continue
            if instruction.keyword == "ADD":
                self._refuse_archive(instruction, source)
            yield self._file(source, posixpath.join(place.path, source.name) if into_folder else place.path)

    def _folder(self, top: Source, target: str) -> Iterable[Entry]:
        if target:
            yield Entry(target)
        for source in self._context.walk(top):
            yield self._file(source, posixpath.join(target, posixpath.relpath(source.path, top.path or ".")))

    def _file(self, source: Source, path: str) -> Entry:
        if source.is_folder:
            return Entry(path)
        if source.link is not None:
            return Entry(path, target=source.link)
        return Entry(path, mode=source.portable_mode, source=self._context.opener(source))

    def _refuse_archive(self, instruction: Instruction, source: Source) -> None:
        if source.link is not None:
            return
        with self._context.opener(source)() as file:
            head = file.read(512)
        if head.startswith(_ARCHIVES) or head[257:262] == b"ustar":
            _refuse(instruction, f"{source.path!r} is an archive, which ADD would unpack; unpack it first and COPY it")


_STEPS: Mapping[str, Callable[[_Builder, Instruction], None]] = {
    "FROM": _Builder._from,
    "ARG": _Builder._arg,
    "ENV": _Builder._env,
    "LABEL": _Builder._label,
    "WORKDIR": _Builder._workdir,
    "USER": _Builder._user,
    "EXPOSE": _Builder._expose,
    "ENTRYPOINT": _Builder._entrypoint,
    "CMD": _Builder._cmd,
    "STOPSIGNAL": _Builder._stopsignal,
    "HEALTHCHECK": _Builder._ignored,
    "VOLUME": _Builder._ignored,
    "MAINTAINER": _Builder._maintainer,
    "COPY": _Builder._copy,
    "ADD": _Builder._copy,
}


def static_site(context: Context, target: str) -> Iterable[Entry]:
    """The files of a static site below `target`; hidden ones stay out, except `.well-known`."""
    for source in context.walk(Source("", stat.S_IFDIR | 0o755)):
        hidden = any(part.startswith(".") and part != ".well-known" for part in source.path.split("/"))
        if hidden or source.path == "Dockerfile":
            continue
        path = f"{target}/{source.path}"
        if source.is_folder:
            yield Entry(path)
        elif source.link is not None:
            yield Entry(path, target=source.link)
        else:
            yield Entry(path, mode=source.portable_mode, source=context.opener(source))


def _refuse(instruction: Instruction, problem: str) -> NoReturn:
    raise DockerfileError(instruction.line, problem)


def _mode(instruction: Instruction) -> int:
    text = instruction.flags.get("chmod", "0")
    try:
        return int(text, 8) & 0o7777
    except ValueError:
        _refuse(instruction, f"--chmod={text} is not an octal number such as 755")


def _owner(instruction: Instruction, layers: Sequence[str]) -> tuple[int, int]:
    text = instruction.flags.get("chown", "0:0")
    user, colon, group = text.partition(":")
    uid = _number(instruction, layers, "etc/passwd", user)
    return uid, _number(instruction, layers, "etc/group", group) if colon else uid


def _number(instruction: Instruction, layers: Sequence[str], path: str, name: str) -> int:
    if name.isdecimal() and int(name) < 2**31:
        return int(name)
    data = look(layers, path, read_bytes_max=1 << 20).data or b""
    for line in data.decode("utf-8", "replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] == name and fields[2].isdecimal():
            return int(fields[2])
    _refuse(instruction, f"--chown: the image has no {name!r} in /{path}; use a number")
