"""A Dockerfile as stages: which there are, what each is made from, and which of them are needed. Pure."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from fairway.toolkit.oci import dockerfile, documents
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction
from fairway.toolkit.oci.run_flags import source_of as source_of

_NAME = re.compile(r"[a-z][a-z0-9_.-]*\Z")
PROXIES = frozenset(
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
)
"""Arguments that need no ARG, and of which no cached layer depends."""


class Stage(msgspec.Struct, frozen=True):
    """One FROM and what follows it. `base` is an image's name, or empty when it goes on from the stage `parent`."""

    index: int
    name: str
    line: int
    base: str
    parent: int | None
    instructions: tuple[Instruction, ...]
    uses: frozenset[int] = frozenset()
    """The stages that it copies from, mounts or goes on from."""

    @property
    def label(self) -> str:
        """What it is called in steps and messages."""
        return self.name or f"stage-{self.index}"


class Recipe(msgspec.Struct, frozen=True):
    """All stages, those that are needed in their order, and the arguments from before the first FROM."""

    stages: tuple[Stage, ...]
    needed: tuple[int, ...]
    arguments: Mapping[str, str]
    given: Mapping[str, str]

    @property
    def target(self) -> Stage:
        return self.stages[self.needed[-1]]

    def source(self, instruction: Instruction, name: str, stage: int) -> int | str:
        """What `--from` or `from=` of an instruction in a stage names: an earlier stage, or else an image."""
        return _source(self.stages[:stage], tuple(one.name for one in self.stages[stage:]), instruction, name)


def read(instructions: tuple[Instruction, ...], given: Mapping[str, str], target: str = "") -> Recipe:
    """Cut instructions into stages. `given` are the build arguments. Raises DockerfileError."""
    known = _platform_arguments()
    first = next((at for at, one in enumerate(instructions) if one.keyword == "FROM"), None)
    for one in instructions[:first]:
        if one.keyword != "ARG":
            raise DockerfileError(one.line, f"{one.keyword} before FROM; only ARG may stand there")
        for name, default in dockerfile.arguments(one):
            known[name] = given.get(name, dockerfile.expand(one, default or "", known))
    if first is None:
        raise DockerfileError(instructions[-1].line, "there is no FROM")
    stages: list[Stage] = []
    names = _names(instructions)
    begins = [at for at, one in enumerate(instructions) if one.keyword == "FROM"]
    for index, (begin, end) in enumerate(zip(begins, [*begins[1:], len(instructions)], strict=True)):
        stages.append(_stage(tuple(stages), names[index:], instructions[begin], instructions[begin + 1 : end], known))
    wanted = _target(tuple(stages), target, instructions[-1].line)
    return Recipe(tuple(stages), _needed(stages, wanted), known, given)


def _names(instructions: tuple[Instruction, ...]) -> tuple[str, ...]:
    found: list[str] = []
    for one in instructions:
        if one.keyword != "FROM":
            continue
        words = one.arguments.split()
        name = words[2].lower() if len(words) == 3 and words[1].upper() == "AS" else ""
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise DockerfileError(one.line, f"FROM {one.arguments[:80]}: write FROM IMAGE or FROM IMAGE AS NAME")
        if name and not _NAME.match(name):
            raise DockerfileError(one.line, f"{name[:80]!r} is no name of a stage; it begins with a letter")
        if name and name in found:
            raise DockerfileError(one.line, f"there are two stages named {name!r}; rename one")
        found.append(name)
    return tuple(found)


def _stage(
    before: tuple[Stage, ...],
    names: tuple[str, ...],
    begin: Instruction,
    instructions: tuple[Instruction, ...],
    known: Mapping[str, str],
) -> Stage:
    for flag in begin.flags:
        if flag != "platform":
            raise DockerfileError(begin.line, f"FROM --{flag} is not supported")
    wanted = dockerfile.expand(begin, begin.flag("platform"), known)
    if wanted and wanted not in (known["BUILDPLATFORM"], f"{known['BUILDPLATFORM']}/v8"):
        raise DockerfileError(
            begin.line, f"--platform={wanted}: images are made for {known['BUILDPLATFORM']} alone; leave it out"
        )
    base = dockerfile.expand(begin, begin.arguments.split()[0], known)
    if not base:
        raise DockerfileError(begin.line, f"FROM {begin.arguments}: the name is empty; give its ARG a default")
    parent = next((one.index for one in before if one.name and one.name == base.lower()), None)
    if parent is None and base.lower() in filter(None, names):
        raise DockerfileError(begin.line, f"the stage {base!r} goes on from itself or from a later one: a cycle")
    index = len(before)
    uses = {parent} if parent is not None else set[int]()
    for one in instructions:
        named = (_source(before, names, one, name) for name in _sources(one))
        uses |= {source for source in named if isinstance(source, int)}
    return Stage(index, names[0], begin.line, "" if parent is not None else base, parent, instructions, frozenset(uses))


def _sources(one: Instruction) -> Iterator[str]:
    if one.keyword == "COPY" and one.flag("from"):
        yield one.flag("from")
    elif one.keyword == "RUN":
        yield from filter(None, map(source_of, one.flags.get("mount", ())))


def _source(before: tuple[Stage, ...], later: tuple[str, ...], one: Instruction, name: str) -> int | str:
    if name.isdecimal():
        if int(name) >= len(before):
            raise DockerfileError(one.line, f"--from={name}: only earlier stages can be copied from, by 0 and on")
        return int(name)
    stage = next((stage.index for stage in before if stage.name and stage.name == name.lower()), None)
    if stage is None and name.lower() in filter(None, later):
        raise DockerfileError(one.line, f"--from={name}: the stage comes later or is this one: a cycle")
    return name if stage is None else stage


def _target(stages: tuple[Stage, ...], target: str, line: int) -> int:
    if not target:
        return len(stages) - 1
    for stage in stages:
        if stage.name and target.lower() == stage.name:
            return stage.index
    if target.isdecimal() and int(target) < len(stages):
        return int(target)
    known = ", ".join(stage.name for stage in stages if stage.name) or "none has a name"
    raise DockerfileError(line, f"there is no stage {target!r} to build; the stages are: {known[:500]}")


def _needed(stages: list[Stage], target: int) -> tuple[int, ...]:
    found, todo = set[int](), [target]
    while todo:
        index = todo.pop()
        if index not in found:
            found.add(index)
            todo += stages[index].uses
    return tuple(sorted(found))


def _platform_arguments() -> dict[str, str]:
    here = documents.here()
    name = "/".join(filter(None, (here.os, here.architecture, here.variant)))
    parts = {"PLATFORM": name, "OS": here.os, "ARCH": here.architecture, "VARIANT": here.variant}
    return {f"{side}{part}": value for side in ("TARGET", "BUILD") for part, value in parts.items()}
