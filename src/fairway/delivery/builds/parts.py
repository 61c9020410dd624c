"""Cut a Dockerfile where it runs commands: what the platform does itself, and what a container must run. Pure."""

import posixpath
from collections.abc import Iterator, Mapping

import msgspec

from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction
from fairway.toolkit.oci.run_flags import RunMount, has_network, mounts
from fairway.toolkit.oci.stages import Recipe, Stage

RUNS_MAX = 50
_COMMAND_BYTES_MAX = 100_000


class Part(msgspec.Struct, frozen=True):
    """Instructions of one stage that run nothing, and the RUN after them; without any it is the stage's last part.

    `first` and `stop` say which of the stage's instructions; `needs` are the parts that must have been done.
    """

    number: int
    stage: int
    label: str
    first: int
    stop: int
    runs: tuple[Instruction, ...] = ()
    mounts: tuple[RunMount, ...] = ()
    has_network: bool = True
    before: int = 0
    """The number of the part before it in its stage; 0: it begins with FROM."""
    needs: tuple[int, ...] = ()

    @property
    def lines(self) -> str:
        """Which lines it runs, for messages."""
        first, last = self.runs[0].line, self.runs[-1].line
        return f"line {first}" if first == last else f"lines {first} to {last}"


def parts(recipe: Recipe) -> tuple[Part, ...]:
    """The parts of all stages that are needed, in an order in which they can be done. Raises DockerfileError."""
    if len(recipe.needed) > 2 * RUNS_MAX:
        raise DockerfileError(
            recipe.target.line, f"{len(recipe.needed)} stages are needed; at most {2 * RUNS_MAX} where commands are run"
        )
    found: list[Part] = []
    last: dict[int, int] = {}
    for index in recipe.needed:
        stage = recipe.stages[index]
        used = tuple(sorted(last[one] for one in stage.uses))
        before, first = 0, 0
        for stop, runs in _groups(stage):
            number = len(found) + 1
            part = Part(number, index, stage.label, first, stop, runs, before=before, needs=used)
            found.append(_with_flags(recipe, part) if runs else part)
            before, first, used = number, stop + len(runs), ()
        last[index] = before
    count = sum(bool(part.runs) for part in found)
    if count > RUNS_MAX or len(found) > 2 * RUNS_MAX:
        raise DockerfileError(
            found[-1].runs[0].line if found[-1].runs else recipe.target.line,
            f"{count} groups of RUN in {len(recipe.needed)} stages are too many; at most {RUNS_MAX} groups in "
            f"{RUNS_MAX} stages: write RUN after RUN, or join commands with &&",
        )
    return tuple(found)


def _groups(stage: Stage) -> Iterator[tuple[int, tuple[Instruction, ...]]]:
    """Where each group of RUN with the same flags begins; after the last one what is left."""
    at, instructions = 0, stage.instructions
    while at < len(instructions):
        if instructions[at].keyword != "RUN":
            at += 1
            continue
        end = at
        while end < len(instructions) and _same(instructions[at], instructions[end]):
            end += 1
        yield at, instructions[at:end]
        at = end
    yield len(instructions), ()


def _same(one: Instruction, other: Instruction) -> bool:
    return other.keyword == "RUN" and other.flags == one.flags


def _with_flags(recipe: Recipe, part: Part) -> Part:
    """What the flags of the group say, so far as it is known before anything has been built."""
    stage = recipe.stages[part.stage]
    variables, folder = known(recipe, stage, part.stop)
    found = []
    one = part.runs[0]
    for mount in mounts(one, variables):
        if mount.target and not mount.target.startswith("/") and not folder:
            raise DockerfileError(
                one.line, f"--mount: target={mount.target}: write the whole path; WORKDIR comes from the image here"
            )
        target = posixpath.normpath(posixpath.join(folder or "/", mount.target)) if mount.target else ""
        target = f"/{target.lstrip('/')}" if target else ""
        found.append(msgspec.structs.replace(mount, target=target))
    targets = [mount.target for mount in found if mount.target]
    if len(targets) != len(set(targets)):
        raise DockerfileError(one.line, "--mount: two of them have the same target")
    for run in part.runs:
        if len(run.arguments) + sum(len(text.text) for text in run.heredocs) > _COMMAND_BYTES_MAX:
            raise DockerfileError(
                run.line, f"the command has more than {_COMMAND_BYTES_MAX} characters; put it into a file and COPY it"
            )
    return msgspec.structs.replace(part, mounts=tuple(found), has_network=has_network(one))


def known(recipe: Recipe, stage: Stage, stop: int) -> tuple[Mapping[str, str], str]:
    """The variables and the working directory that the Dockerfile itself says before an instruction of a stage."""
    variables: dict[str, str] = {}
    folder = ""
    if stage.parent is not None:
        parent = recipe.stages[stage.parent]
        inherited, folder = known(recipe, parent, len(parent.instructions))
        variables = {name: inherited[name] for name in inherited if name in _of_image(recipe, parent)}
    for one in stage.instructions[:stop]:
        match one.keyword:
            case "ARG":
                for name, default in dockerfile.arguments(one):
                    value = (
                        recipe.arguments.get(name) if default is None else dockerfile.expand(one, default, variables)
                    )
                    value = recipe.given.get(name, value)
                    variables |= {name: value} if value is not None else {}
            case "ENV":
                variables |= dict(dockerfile.pairs(one, variables))
            case "WORKDIR":
                wanted = dockerfile.expand(one, one.arguments, variables)
                folder = posixpath.normpath(posixpath.join(folder, wanted)) if folder or wanted[:1] == "/" else ""
    return variables, folder


def _of_image(recipe: Recipe, stage: Stage) -> set[str]:
    """Names that ENV sets in a stage or before it: arguments end with their stage."""
    found = {name for one in stage.instructions if one.keyword == "ENV" for name, _ in dockerfile.pairs(one, {})}
    return found | (_of_image(recipe, recipe.stages[stage.parent]) if stage.parent is not None else set())
