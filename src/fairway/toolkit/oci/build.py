"""Build images from Dockerfiles or static files, without running anything; what RUN needs comes from elsewhere."""

import posixpath
from collections.abc import Callable, Iterable, Mapping
from typing import NoReturn

from fairway.toolkit.oci import accounts, build_copy, dockerfile
from fairway.toolkit.oci.context import Context, ContextError, Source
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.image_tree import ImageTree
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import InvalidReference, Reference
from fairway.toolkit.oci.reference import parse as parse_reference
from fairway.toolkit.oci.stages import PROXIES, Recipe, Stage
from fairway.toolkit.oci.store import Image, ImageStore

Tell = Callable[[str], None]
SHELL = ("/bin/sh", "-c")
LAYERS_MAX = 120
"""Of overlayfs and of registries one allows 128, others 127."""
SCRATCH = "scratch"
_RUN = "RUN is not supported: this builder runs nothing. Do that step before the build and COPY its result"
_ONBUILD = "ONBUILD is not supported; write the instruction into the image that needs it"
_HEALTHCHECK = "HEALTHCHECK is ignored; declare probes where the container is declared"
_VOLUME = "VOLUME only stands in the image's settings; declare volumes where the container is declared"


def build(
    store: ImageStore,
    reference: Reference,
    context: Context,
    recipe: Recipe,
    base: Callable[[Reference], Image],
    tell: Tell,
) -> Image:
    """Build a Dockerfile's target, and before it the stages that it needs, and name the result.

    `base` brings the images of FROM and `COPY --from`. Raises DockerfileError, ContextError, OSError and what `base`
    raises.
    """
    made: dict[int, Image] = {}
    for index in recipe.needed:
        maker = StageMaker(store, context, recipe, recipe.stages[index], made.__getitem__, base, tell)
        maker.begin()
        for instruction in recipe.stages[index].instructions:
            maker.step(instruction)
        if index == recipe.target.index:
            return maker.draft.commit(reference)
        made[index] = maker.draft.image()
    raise AssertionError("the target is always needed")


class StageMaker:
    """One stage in the making: the draft of its image, and the arguments that its instructions know."""

    def __init__(
        self,
        store: ImageStore,
        context: Context,
        recipe: Recipe,
        stage: Stage,
        stage_image: Callable[[int], Image],
        base: Callable[[Reference], Image],
        tell: Tell,
    ) -> None:
        """`stage_image` gives what an earlier stage became."""
        self.store = store
        self.context = context
        self.recipe = recipe
        self.stage = stage
        self.arguments: dict[str, str] = {}
        self.draft = Draft(store, None)
        self._stage_image = stage_image
        self._base = base
        self._tell = tell

    def begin(self) -> None:
        """Start from what FROM names. Raises DockerfileError and what `base` raises."""
        self._tell(f"{self._place}FROM {self.stage.base or self.recipe.stages[self.stage.parent or 0].label}")
        self.draft = Draft(self.store, self._from())

    def go_on(self, image: Image, done: Iterable[Instruction]) -> None:
        """Take an image that some instructions have made of the stage already, and learn what they declared."""
        self.draft = Draft(self.store, self._from())  # thrown away: ARG may be about variables of just then
        for instruction in done:
            if instruction.keyword in ("ARG", "ENV"):
                _STEPS[instruction.keyword](self, instruction)
        self.draft = Draft(self.store, image)

    def step(self, instruction: Instruction) -> None:
        """Do one instruction. Raises DockerfileError, OSError and what `base` raises."""
        self._tell(f"{self._place}{instruction}")
        try:
            _STEPS[instruction.keyword](self, instruction)
        except ContextError as error:
            raise DockerfileError(instruction.line, str(error)) from error
        if len(self.draft.diff_ids) > LAYERS_MAX:
            raise DockerfileError(
                instruction.line, f"the image gets more than {LAYERS_MAX} layers; join RUN and COPY instructions"
            )

    @property
    def variables(self) -> dict[str, str]:
        """What instructions may name: arguments, and over them the variables of the image."""
        return {**self.arguments, **self.environment}

    @property
    def environment(self) -> dict[str, str]:
        return dict(pair.partition("=")[::2] for pair in self.draft.run.env or ())

    @property
    def proxies(self) -> dict[str, str]:
        """Arguments that RUN gets without an ARG."""
        return {name: value for name, value in self.recipe.given.items() if name in PROXIES}

    @property
    def working_dir(self) -> str:
        return self.draft.run.working_dir or "/"

    @property
    def shell(self) -> tuple[str, ...]:
        return self.draft.run.shell or SHELL

    def image_of(self, instruction: Instruction, name: str) -> Image:
        """The image that `--from` names. Raises DockerfileError and what `base` raises."""
        source = self.recipe.source(instruction, name, self.stage.index)
        return self._stage_image(source) if isinstance(source, int) else self._base(_reference(instruction.line, name))

    def files_of(self, instruction: Instruction, name: str) -> Context | ImageTree:
        """Where a copy or a mount takes its files from: the context, a stage or an image."""
        return ImageTree(self.image_of(instruction, name), name) if name else self.context

    @property
    def _place(self) -> str:
        return f"[{self.stage.label}] " if len(self.recipe.stages) > 1 else ""

    def _from(self) -> Image | None:
        if self.stage.parent is not None:
            return self._stage_image(self.stage.parent)
        if self.stage.base == SCRATCH:
            return None
        image = self._base(_reference(self.stage.line, self.stage.base))
        config = self.store.config(self.store.manifest(image.manifest_digest)).config
        if config is not None and config.on_build:
            first = config.on_build[0][:80]
            raise DockerfileError(
                self.stage.line, f"the image {self.stage.base} has ONBUILD {first}; write that after this FROM instead"
            )
        return image

    def _arg(self, instruction: Instruction) -> None:
        for name, default in dockerfile.arguments(instruction):
            value = dockerfile.expand(instruction, default, self.variables) if default is not None else None
            if value is None:
                value = self.recipe.arguments.get(name)
            value = self.recipe.given.get(name, value)
            if value is not None:
                self.arguments[name] = value

    def _env(self, instruction: Instruction) -> None:
        added = dict(dockerfile.pairs(instruction, self.variables))
        self.draft.note(
            str(instruction), env=tuple(f"{name}={value}" for name, value in {**self.environment, **added}.items())
        )

    def _label(self, instruction: Instruction) -> None:
        added = dict(dockerfile.pairs(instruction, self.variables))
        self.draft.note(str(instruction), labels={**(self.draft.run.labels or {}), **added})

    def _workdir(self, instruction: Instruction) -> None:
        wanted = dockerfile.expand(instruction, instruction.arguments, self.variables)
        path = posixpath.normpath(posixpath.join(self.working_dir, wanted))
        place = self.draft.look(path)
        if place.mode is not None and not place.is_folder:
            _refuse(instruction, f"{path} is a file in the image")
        self.draft.note(str(instruction), working_dir=path)
        if place.mode is None:
            owner = self._owner(instruction)
            self.draft.add([Entry(place.path, uid=owner[0], gid=owner[1])], str(instruction), owner)

    def _owner(self, instruction: Instruction) -> tuple[int, int]:
        try:
            return accounts.owner_of(self.draft.folders, self.draft.run.user or "")
        except accounts.UnknownAccount as error:
            _refuse(instruction, f"USER {self.draft.run.user}: {error}")

    def _user(self, instruction: Instruction) -> None:
        self.draft.note(
            str(instruction), user=dockerfile.expand(instruction, instruction.arguments.strip(), self.variables)
        )

    def _expose(self, instruction: Instruction) -> None:
        ports = dict(self.draft.run.exposed_ports or {})
        for word in " ".join(dockerfile.words(instruction, self.variables)).split():
            port, _, protocol = word.partition("/")
            numbers = port.split("-")
            if not all(number.isdecimal() and 0 < int(number) < 65536 for number in numbers) or len(numbers) > 2:
                _refuse(instruction, f"{word!r} is not a port such as 80 or 53/udp")
            for number in range(int(numbers[0]), int(numbers[-1]) + 1):
                ports[f"{number}/{protocol.lower() or 'tcp'}"] = {}
        self.draft.note(str(instruction), exposed_ports=ports)

    def _entrypoint(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction), entrypoint=dockerfile.command(instruction.arguments, self.shell), cmd=None)

    def _cmd(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction), cmd=dockerfile.command(instruction.arguments, self.shell))

    def _shell(self, instruction: Instruction) -> None:
        array = dockerfile.json_form(instruction.arguments)
        if not array:
            _refuse(instruction, 'SHELL needs a JSON array such as ["/bin/bash", "-c"]')
        self.draft.note(str(instruction), shell=array)

    def _stopsignal(self, instruction: Instruction) -> None:
        self.draft.note(
            str(instruction), stop_signal=dockerfile.expand(instruction, instruction.arguments, self.variables)
        )

    def _volume(self, instruction: Instruction) -> None:
        self._tell(f"  note: {_VOLUME}")
        added: dict[str, dict[str, str]] = {path: {} for path in dockerfile.words(instruction, self.variables)}
        self.draft.note(str(instruction), volumes={**(self.draft.run.volumes or {}), **added})

    def _healthcheck(self, instruction: Instruction) -> None:
        self._tell(f"  note: {_HEALTHCHECK}")
        self.draft.note(str(instruction))

    def _maintainer(self, instruction: Instruction) -> None:
        self.draft.note(str(instruction))

    def _run(self, instruction: Instruction) -> None:
        _refuse(instruction, _RUN)

    def _onbuild(self, instruction: Instruction) -> None:
        _refuse(instruction, _ONBUILD)

    def _copy(self, instruction: Instruction) -> None:
        files = self.files_of(instruction, instruction.flag("from"))
        copy = build_copy.read(instruction, self.variables, self.draft.folders)
        target = self.draft.look(posixpath.join(self.working_dir, copy.target))
        with build_copy.scratch(self.store.root) as spool:
            self.draft.add(build_copy.entries(copy, files, target, spool), str(instruction), copy.owner or (0, 0))


_STEPS: Mapping[str, Callable[[StageMaker, Instruction], None]] = {
    "ARG": StageMaker._arg,
    "ENV": StageMaker._env,
    "LABEL": StageMaker._label,
    "WORKDIR": StageMaker._workdir,
    "USER": StageMaker._user,
    "EXPOSE": StageMaker._expose,
    "ENTRYPOINT": StageMaker._entrypoint,
    "CMD": StageMaker._cmd,
    "SHELL": StageMaker._shell,
    "STOPSIGNAL": StageMaker._stopsignal,
    "HEALTHCHECK": StageMaker._healthcheck,
    "VOLUME": StageMaker._volume,
    "MAINTAINER": StageMaker._maintainer,
    "COPY": StageMaker._copy,
    "ADD": StageMaker._copy,
    "RUN": StageMaker._run,
    "ONBUILD": StageMaker._onbuild,
}


def static_site(context: Context, target: str) -> Iterable[Entry]:
    """The files of a static site below `target`; hidden ones stay out, except `.well-known`."""
    for source in context.walk(Source("", 0o40755)):
        hidden = any(part.startswith(".") and part != ".well-known" for part in source.path.split("/"))
        if hidden or source.path == "Dockerfile":
            continue
        yield build_copy.entry(context, source, f"{target}/{source.path}")


def _reference(line: int, name: str) -> Reference:
    try:
        return parse_reference(name)
    except InvalidReference as error:
        raise DockerfileError(line, f"{name!r}: {error}") from error


def _refuse(instruction: Instruction, problem: str) -> NoReturn:
    raise DockerfileError(instruction.line, problem)
