"""Jobs that only drive Docker (`docker build`, `docker push`) as steps of the platform: no daemon is needed.

`docker login` is left aside: the platform logs in with the App's registry Secret.
"""

import re
import shlex
from collections.abc import Mapping, Sequence

from fairway.delivery.pipelines.conditions import expand
from fairway.delivery.pipelines.ir import Make

_IMAGE = re.compile(r"(?:.*/)?docker(?::|@|\Z)")
_LEFT_ASIDE = ("echo", "cd .", "docker info", "docker version", "docker --version", "docker logout", "docker images")


class NotDocker(ValueError):
    """A command that this platform cannot do without Docker; the message names it."""


def drives_docker(image: str, script: Sequence[str]) -> bool:
    """Whether a job is about Docker: by its image, and by its commands."""
    return _IMAGE.match(image) is not None and any("docker build" in line or "docker push" in line for line in script)


def make(script: Sequence[str], variables: Mapping[str, str]) -> Make:
    """What the commands of a job make. Raises NotDocker."""
    made: Make | None = None
    pushed: list[str] = []
    for command in _commands(script):
        words = _words(command, variables)
        match words[:2]:
            case ["docker", "build"]:
                if made is not None:
                    raise NotDocker(f"one job builds one image; split `{command[:80]}` into a job of its own")
                made = _build(words[2:], command)
            case ["docker", "push"]:
                pushed += [word for word in words[2:] if not word.startswith("-")]
            case ["docker", "tag"] | ["docker", "login"]:
                continue
            case _ if not command.startswith(_LEFT_ASIDE):
                raise NotDocker(
                    f"`{command[:80]}` needs a Docker daemon; only docker login, build, tag and push are done"
                )
    if made is None:
        raise NotDocker("there is no `docker build` in this job")
    ordered = tuple(dict.fromkeys((*(tag for tag in pushed if tag in made.tags), *made.tags)))
    return Make("dockerfile", made.folder, dockerfile=made.dockerfile, arguments=made.arguments, tags=ordered)


def _commands(script: Sequence[str]) -> list[str]:
    """One command each; of a pipe only its last part counts (`echo … | docker login …`)."""
    found = []
    for text in script:
        for line in text.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                command = part.rpartition("|")[2].strip()
                if command and not command.startswith("#"):
                    found.append(command)
    return found


def _words(command: str, variables: Mapping[str, str]) -> list[str]:
    try:
        return [expand(word, variables) for word in shlex.split(command)]
    except ValueError as error:
        raise NotDocker(f"`{command[:80]}`: {error}") from None


def _build(words: list[str], command: str) -> Make:
    tags: list[str] = []
    arguments: dict[str, str] = {}
    dockerfile, folder = "", ""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            folder = word
            continue
        if name in ("--pull", "--no-cache", "--quiet", "-q"):
            continue
        if name not in ("-t", "--tag", "-f", "--file", "--build-arg", "--cache-from", "--platform", "--label"):
            raise NotDocker(f"`{command[:80]}`: {name} is not known here")
        value = value if equals else next(rest, "")
        if name in ("-t", "--tag"):
            tags.append(value)
        elif name in ("-f", "--file"):
            dockerfile = value
        elif name == "--build-arg":
            key, _, text = value.partition("=")
            arguments[key] = text
    if not folder or folder.startswith("/") or ".." in folder.split("/"):
        raise NotDocker(f"`{command[:80]}`: the folder to build must be one inside the repository, such as `.`")
    folder = "" if folder in (".", "./") else folder.removeprefix("./").rstrip("/")
    dockerfile = dockerfile or f"{folder}/Dockerfile".lstrip("/")
    return Make("dockerfile", folder, dockerfile=dockerfile, arguments=arguments, tags=tuple(tags))
