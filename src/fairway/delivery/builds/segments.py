"""Cut a Dockerfile at its RUN steps: what goes on before each, and the commands that a container must run."""

import posixpath
import shlex

import msgspec

from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction

RUN_FOLDER = ".fairway-run"
ARCHIVE = "rootfs.tar"
SEGMENTS_MAX = 12
_ROOT = ("", "0", "root", "0:0", "root:root")
_PACK = f"""cd / && set --
for entry in $(ls -A /); do
  case "$entry" in dev|fairway|proc|sys|workspace) ;; *) set -- "$@" "$entry" ;; esac
done
mkdir -p "$CI_PROJECT_DIR/{RUN_FOLDER}" && tar -cf "$CI_PROJECT_DIR/{RUN_FOLDER}/{ARCHIVE}" "$@"
"""


class Segment(msgspec.Struct, frozen=True):
    """Instructions that run nothing, and the commands to run in the image that they make; the last one has none."""

    instructions: tuple[Instruction, ...]
    commands: tuple[str, ...] = ()
    working_dir: str = "/"
    arguments: tuple[tuple[str, str], ...] = ()
    """What ARG names, with its default."""


def segments(instructions: tuple[Instruction, ...]) -> tuple[Segment, ...]:
    """One segment for each group of RUN steps and one for the rest; a single one when nothing is run.

    From the second on a segment goes on from the image before it, which is what its FROM names: `scratch` stands for
    it here. Raises DockerfileError for what cannot be run here.
    """
    found: list[Segment] = []
    current: list[Instruction] = []
    commands: list[str] = []
    arguments: list[Instruction] = []
    user, stages, folder = "", 0, "/"
    for one in instructions:
        if one.keyword != "RUN" and commands:
            found.append(Segment(tuple(current), tuple(commands), folder, _defaults(arguments)))
            current, commands = [Instruction(one.line, "FROM", "scratch"), *arguments], []
        match one.keyword:
            case "RUN":
                commands.append(_command(one, user, stages))
                continue
            case "FROM":
                stages += 1
            case "USER":
                user = one.arguments.strip()
            case "WORKDIR":
                folder = posixpath.normpath(posixpath.join(folder, one.arguments.strip("\"' ")))
            case "ARG" if stages:
                arguments.append(one)
        current.append(one)
    if commands:
        found.append(Segment(tuple(current), tuple(commands), folder, _defaults(arguments)))
        current = [Instruction(instructions[-1].line, "FROM", "scratch"), *arguments]
    found.append(Segment(tuple(current)))
    if len(found) > SEGMENTS_MAX:
        raise DockerfileError(instructions[-1].line, f"at most {SEGMENTS_MAX - 1} groups of RUN steps; join some")
    return tuple(found)


def _defaults(arguments: list[Instruction]) -> tuple[tuple[str, str], ...]:
    pairs = (one.arguments.partition("=") for one in arguments)
    return tuple((name, default.strip("\"'")) for name, _, default in pairs)


def _command(one: Instruction, user: str, stages: int) -> str:
    if not stages:
        raise DockerfileError(one.line, "RUN before FROM")
    if stages > 1:
        raise DockerfileError(one.line, "RUN in a Dockerfile with several stages is not supported; use one stage")
    if user not in _ROOT:
        raise DockerfileError(one.line, f"RUN as user {user} is not supported; put USER after the last RUN")
    if one.flags:
        raise DockerfileError(one.line, f"RUN --{next(iter(one.flags))} is not supported")
    array = dockerfile.json_form(one.arguments)
    return shlex.join(array) if array is not None else one.arguments


def script(segment: Segment) -> tuple[str, ...]:
    """The commands, each in a shell of its own in the working directory, and then everything packed up."""
    folder = shlex.quote(segment.working_dir)
    runs = tuple(f"cd {folder} && sh -ec {shlex.quote(command)}" for command in segment.commands)
    return (*runs, _PACK)
