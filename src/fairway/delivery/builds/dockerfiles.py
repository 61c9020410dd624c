"""Dockerfiles on the platform's side: all at once when nothing is run, else part by part around the commands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from fairway.delivery.builds import run_order
from fairway.delivery.builds.layer_cache import KEY_LENGTH, LayerCache
from fairway.delivery.builds.parts import Part, parts
from fairway.toolkit.oci import dockerfile, stages
from fairway.toolkit.oci.build import SCRATCH, StageMaker, build
from fairway.toolkit.oci.changes import Packed, changed_layer
from fairway.toolkit.oci.context import IGNORE_FILE, Context, ContextError
from fairway.toolkit.oci.dockerfile import DockerfileError
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Layer
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse
from fairway.toolkit.oci.stages import Recipe
from fairway.toolkit.oci.store import Image, ImageIncomplete, ImageStore

EPOCH = "SOURCE_DATE_EPOCH"
"""The build argument after which no file is dated (reproducible-builds.org)."""
_IGNORE_BYTES_MAX = 1 << 20
Tell = Callable[[str], None]


class Dockerfile(msgspec.Struct, frozen=True):
    """A Dockerfile in a workspace: `path` is its own, `inner` the folder that it may copy from."""

    folder: Path
    inner: str
    path: str
    recipe: Recipe


class Turn(msgspec.Struct, frozen=True):
    """One part's turn. Images of parts are named `<stem>-<number>`, with what commands did `<stem>-<number>-ran`.

    `ran` is what the commands before this part left, under `key`; `order` is where the order for its own commands
    goes. Without a cache commands run always.
    """

    number: int
    stem: str
    order: Path
    ran: Packed | None = None
    key: str = ""
    cache: LayerCache | None = None

    def name(self, number: int, suffix: str = "") -> Reference:
        return parse(f"{self.stem}-{number}{suffix}")


class Done(msgspec.Struct, frozen=True):
    """An image; when commands come next, their key, and those that need not run because their layer was kept."""

    image: Image
    key: str = ""
    cached: tuple[str, ...] = ()


def here(store: ImageStore, wanted: Reference) -> Image:
    """An image of the store. Raises ImageIncomplete."""
    name = store.find(wanted)
    if name is None:
        raise ImageIncomplete(f"the image {wanted} is not here")
    return store.load(name)


def open_dockerfile(folder: Path, inner: str, path: str, given: dict[str, str], target: str) -> Dockerfile:
    """Raises DockerfileError, ContextError."""
    with Context(folder, "") as whole:
        text = whole.read(path, 4 * dockerfile.BYTES_MAX)
    if text is None:
        raise ContextError(f"there is no {path} in the repository")
    with _naming(path):
        recipe = stages.read(dockerfile.parse(text.decode("utf-8", "replace")), given, target)
    return Dockerfile(folder, inner, path, recipe)


def images_of(recipe: Recipe) -> tuple[Reference, ...]:
    """The images that must be there: of FROM, and those that are copied or mounted from. Raises DockerfileError."""
    found: dict[Reference, None] = {}
    for index in recipe.needed:
        stage = recipe.stages[index]
        if stage.base and stage.base != SCRATCH:
            found[_reference(stage.line, stage.base)] = None
        for one in stage.instructions:
            names = [one.flag("from")] if one.keyword == "COPY" else []
            names += [stages.source_of(text) for text in one.flags.get("mount", ())] if one.keyword == "RUN" else []
            sources = (recipe.source(one, name, index) for name in names if name)
            found |= {_reference(one.line, source): None for source in sources if isinstance(source, str)}
    return tuple(found)


def whole(store: ImageStore, wanted: Dockerfile, reference: Reference, tell: Tell) -> Image:
    """A Dockerfile that runs nothing. Raises DockerfileError, ContextError, ImageIncomplete, OSError."""
    with _naming(wanted.path), _context(wanted) as context:
        return build(store, reference, context, wanted.recipe, lambda base: here(store, base), tell)


def part(store: ImageStore, wanted: Dockerfile, turn: Turn, reference: Reference | None, tell: Tell) -> Done:
    """One part; the last one becomes `reference`. Raises as `whole`, and BadArchive for what commands left."""
    with _naming(wanted.path), _context(wanted) as context:
        found = parts(wanted.recipe)
        mine = found[turn.number - 1]
        last = {one.stage: one.number for one in found if not one.runs}
        maker = StageMaker(
            store,
            context,
            wanted.recipe,
            wanted.recipe.stages[mine.stage],
            lambda stage: here(store, turn.name(last[stage])),
            lambda base: here(store, base),
            tell,
        )
        if mine.before:
            image = _after_commands(store, wanted, turn, mine.before, tell)
            maker.go_on(image, maker.stage.instructions[: mine.first])
        else:
            maker.begin()
        for instruction in maker.stage.instructions[mine.first : mine.stop]:
            maker.step(instruction)
        image = maker.draft.commit(reference or turn.name(turn.number))
        return _with_order(maker, mine, wanted, turn) if mine.runs else Done(image)


def _with_order(maker: StageMaker, mine: Part, wanted: Dockerfile, turn: Turn) -> Done:
    """What the commands are, or what they left the last time that everything was the same."""
    if not maker.draft.diff_ids:
        raise DockerfileError(mine.runs[0].line, "RUN: there is nothing in the image that could run; COPY it before")
    image = here(maker.store, turn.name(turn.number))
    order = run_order.order(maker, mine, wanted.path, KEY_LENGTH)
    kept = turn.cache.find(order.key) if turn.cache else None
    if kept is None:
        run_order.write(order, turn.order)
        return Done(image, order.key)
    image = _with_layer(maker.store, image, kept.layer, turn.name(turn.number, "-ran"))
    return Done(image, order.key, tuple(command.shown for command in order.task.commands))


def _after_commands(store: ImageStore, wanted: Dockerfile, turn: Turn, before: int, tell: Tell) -> Image:
    """The image before the commands and the layer of what they changed."""
    name = turn.name(before, "-ran")
    if store.find(name) is not None:
        return here(store, name)
    if turn.ran is None:
        raise ImageIncomplete(f"what the commands before part {turn.number} left is gone; start another run")
    image = here(store, turn.name(before))
    layer = changed_layer(store, image, turn.ran, latest=_latest(wanted.recipe))
    tell(f"the commands changed files: {layer.descriptor.size} bytes" if layer else "the commands changed no files")
    if turn.cache and turn.key:
        turn.cache.keep(turn.key, layer)
    return _with_layer(store, image, layer, name)


def _with_layer(store: ImageStore, image: Image, layer: Layer | None, name: Reference) -> Image:
    draft = Draft(store, image)
    if layer is not None:
        draft.add_layer(layer, "RUN")
    return draft.commit(name)


def _latest(recipe: Recipe) -> int | None:
    text = recipe.given.get(EPOCH, "")
    return int(text) if text.isdecimal() else None


@contextmanager
def _context(wanted: Dockerfile) -> Iterator[Context]:
    """The build folder; an ignore file of the Dockerfile's own goes before the folder's."""
    with Context(wanted.folder, "") as whole:
        text = whole.read(f"{wanted.path}{IGNORE_FILE}", _IGNORE_BYTES_MAX)
    ignore = None if text is None else text.decode("utf-8", "replace")
    with Context(wanted.folder / wanted.inner if wanted.inner else wanted.folder, ignore) as context:
        yield context


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Mistakes are shown with the name of their file."""
    try:
        yield
    except DockerfileError as error:
        raise DockerfileError(error.line, error.problem, path) from error


def _reference(line: int, name: str) -> Reference:
    try:
        return parse(name)
    except InvalidReference as error:
        raise DockerfileError(line, f"{name!r}: {error}") from error
