"""What goes onto a base: the layer of a site, the layer of a program, the steps of a Dockerfile that runs nothing."""

import posixpath
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from fairway.delivery.builds.segments import segments
from fairway.delivery.builds.site import COMMAND, site_entries
from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.build import build
from fairway.toolkit.oci.changes import changed_layer
from fairway.toolkit.oci.context import Context, ContextError, Source
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import Reference, parse
from fairway.toolkit.oci.store import Image, ImageIncomplete, ImageStore

PROGRAM_FOLDER = "app"
PROGRAM_USER = 1000
"""Whom programs run as, and whose their folder is: they may write beside themselves, and are not root."""
_DOCKERFILE_BYTES_MAX = 1 << 20
_LEFT_OUT = frozenset({".git"})


def here(store: ImageStore, wanted: Reference) -> Image:
    """An image of the store. Raises ImageIncomplete."""
    name = store.find(wanted)
    if name is None:
        raise ImageIncomplete(f"the image {wanted} is not here")
    return store.load(name)


def site(store: ImageStore, base: Reference, folder: Path, port: int, reference: Reference) -> Image:
    """Static files on a web server. Raises ContextError, ImageIncomplete, OSError."""
    with Context(folder) as context:
        if not context.has_file("index.html"):
            raise ContextError(f"there is no index.html in the folder {folder.name!r}: a site starts with one")
        draft = Draft(store, here(store, base))
        draft.add(site_entries(context, port), "static files")
        draft.note("settings", entrypoint=None, cmd=COMMAND, exposed_ports={f"{port}/tcp": {}})
        return _named(store, draft.commit(reference), reference)


def program(
    store: ImageStore,
    base: Reference,
    folder: Path,
    inner: str,
    command: tuple[str, ...],
    variables: Mapping[str, str],
    port: int,
    reference: Reference,
) -> Image:
    """A program's folder below /app, and how it starts. Raises ContextError, ImageIncomplete, OSError."""
    with Context(folder) as context:
        draft = Draft(store, here(store, base))
        draft.add(_program_entries(context, inner), "program")
        variables = {"HOME": f"/{PROGRAM_FOLDER}", **variables}
        env = tuple(pair for pair in draft.run.env or () if pair.partition("=")[0] not in variables)
        draft.note(
            "settings",
            working_dir=f"/{PROGRAM_FOLDER}",
            entrypoint=None,
            cmd=command,
            user=f"{PROGRAM_USER}:{PROGRAM_USER}",
            env=(*env, *(f"{name}={value}" for name, value in variables.items())),
            exposed_ports={f"{port}/tcp": {}},
        )
        return _named(store, draft.commit(reference), reference)


class Part(msgspec.Struct, frozen=True):
    """A part of a Dockerfile that runs commands, from 1; 0 is all of it.

    `before` is the image in which the commands before it ran, `archive` what all its files were afterwards.
    """

    number: int = 0
    before: str = ""
    archive: Path = Path()


WHOLE = Part()


def from_dockerfile(
    store: ImageStore,
    folder: Path,
    inner: str,
    instructions: tuple[dockerfile.Instruction, ...],
    arguments: Mapping[str, str],
    reference: Reference,
    tell: Callable[[str], None],
    part: Part = WHOLE,
) -> Image:
    """A Dockerfile, or a part, that runs nothing. Raises DockerfileError, ContextError, ImageIncomplete, OSError."""
    changed = _after_commands(store, part, tell) if part.before else None

    def base(wanted: Reference) -> Image:
        return changed or here(store, wanted)

    with Context(folder / inner if inner else folder) as context:
        if changed is not None:
            instructions = (msgspec.structs.replace(instructions[0], arguments=part.before), *instructions[1:])
        return _named(store, build(store, reference, context, instructions, base, arguments, tell), reference)


def _after_commands(store: ImageStore, part: Part, tell: Callable[[str], None]) -> Image:
    """The image before the commands and the layer of what they changed. Raises BadArchive, ImageIncomplete, OSError."""
    name = parse(part.before)
    before = here(store, name)
    layer = changed_layer(store, before, part.archive)
    if layer is None:
        tell("the commands changed no files")
        return before
    tell(f"the commands changed files: a layer of {layer.descriptor.size} bytes")
    draft = Draft(store, before)
    draft.add_layer(layer, "RUN")
    return draft.commit(Reference(name.registry, name.repository, f"{name.tag}-done"))


def read_dockerfile(folder: Path, path: str, part: Part = WHOLE) -> tuple[dockerfile.Instruction, ...]:
    """The instructions of a Dockerfile, or of a part. Raises DockerfileError, ContextError."""
    with Context(folder) as context:
        text = context.read(path, _DOCKERFILE_BYTES_MAX)
    if text is None:
        raise ContextError(f"there is no {path} in the repository")
    instructions = dockerfile.parse(text.decode("utf-8", "replace"))
    return segments(instructions)[part.number - 1].instructions if part.number else instructions


def bases(instructions: tuple[dockerfile.Instruction, ...], arguments: Mapping[str, str]) -> Iterator[Reference]:
    """The images that a Dockerfile starts from. Raises InvalidReference."""
    known = dict(arguments)
    for one in instructions:
        if one.keyword == "ARG":
            name, equals, default = one.arguments.partition("=")
            if equals:
                known.setdefault(name, default)
        elif one.keyword == "FROM":
            name = dockerfile.expand(one.arguments, known).partition(" ")[0]
            if name != "scratch":
                yield parse(name)


def _program_entries(context: Context, inner: str) -> Iterator[Entry]:
    """Everything below a folder, hidden files too."""
    yield Entry(PROGRAM_FOLDER, uid=PROGRAM_USER, gid=PROGRAM_USER)
    for source in context.walk(Source(inner, stat.S_IFDIR | 0o755)):
        if _LEFT_OUT & set(source.path.split("/")):
            continue
        path = posixpath.join(PROGRAM_FOLDER, source.path)
        if source.is_folder:
            yield Entry(path, uid=PROGRAM_USER, gid=PROGRAM_USER)
        elif source.link is not None:
            yield Entry(path, target=source.link)
        else:
            yield Entry(
                path, mode=source.portable_mode, source=context.opener(source), uid=PROGRAM_USER, gid=PROGRAM_USER
            )


def _named(store: ImageStore, image: Image, reference: Reference) -> Image:
    """Named by its digest too, so that it stays known when the tag moves on."""
    exact = Reference(reference.registry, reference.repository, None, image.digest)
    store.record(exact, image.digest, image.manifest_digest, "local")
    return image
