"""Jobs that only drive Docker (`docker build`, `docker push`) as steps of the platform: no daemon is needed.

Passwords of `docker login` are never read here: only the name of the variable that holds one is kept.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from fairway.delivery.pipelines.conditions import expand
from fairway.delivery.pipelines.ir import Make, RegistryLogin

_IMAGE = re.compile(r"(?:.*/)?docker(?::|@|\Z)")
_LEFT_ASIDE = ("echo", "cd .", "docker info", "docker version", "docker --version", "docker logout", "docker images")
_VALUED = (
    *("-t", "--tag", "-f", "--file", "--build-arg", "--target", "--cache-from", "--cache-to", "--platform", "--label"),
    *("--progress", "--secret", "--network"),
)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))\Z")
_PLAIN_DOLLAR = "\ue000"
"""Stands for a dollar sign that the shell would leave alone."""
_GUARDED = re.compile(r"\\\$|'[^']*'")
_USER, _PASSWORD = ("-u", "--username"), ("-p", "--password")


class NotDocker(ValueError):
    """A command that this platform cannot do without Docker; the message names it, `number` is its place."""

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


class _Command(msgspec.Struct, frozen=True):
    """One command, what is piped into it, and which entry of the script it is of."""

    text: str
    piped: str = ""
    number: int = 0


def is_docker(image: str) -> bool:
    """Whether an image is Docker itself, so that its commands or a service of it would want a daemon."""
    return _IMAGE.match(image) is not None


def drives_docker(image: str, script: Sequence[str]) -> bool:
    """Whether a job is about Docker: by its image, and by its commands."""
    return is_docker(image) and any("docker build" in line or "docker push" in line for line in script)


def make(script: Sequence[str], variables: Mapping[str, str]) -> Make:
    """What the commands of a job make. Raises NotDocker."""
    made: Make | None = None
    pushed: list[str] = []
    logins: list[RegistryLogin] = []
    for command in _commands(script):
        try:
            words = _words(command.text, variables)
            match words[:2]:
                case ["docker", "build"]:
                    if made is not None:
                        raise NotDocker(f"one job builds one image; split `{_short(command)}` into a job of its own")
                    made = _build(words[2:], command.text)
                case ["docker", "push"]:
                    pushed += [word for word in words[2:] if not word.startswith("-")]
                case ["docker", "login"]:
                    logins += _login(command, variables)
                case ["docker", "tag"]:
                    continue
                case _ if not command.text.startswith(_LEFT_ASIDE):
                    raise NotDocker(_advice(command))
        except NotDocker as error:
            raise NotDocker(str(error), command.number) from None
    if made is None:
        raise NotDocker("there is no `docker build` in this job")
    ordered = tuple(dict.fromkeys((*(tag for tag in pushed if tag in made.tags), *made.tags)))
    return msgspec.structs.replace(made, tags=ordered, logins=tuple(logins))


def daemon_wanted(script: Sequence[str]) -> NotDocker | None:
    """The first command that wants a Docker daemon, in a job that the platform cannot do itself."""
    for command in _commands(script):
        if command.text.split()[0] in ("docker", "docker-compose"):
            return NotDocker(_advice(command), command.number)
    return None


def _advice(command: _Command) -> str:
    if command.text.split()[0] not in ("docker", "docker-compose"):
        return (
            f"`{_short(command)}` is no docker command: what a docker job does is done by the platform, "
            "which runs no shell for it; move it to a job of an earlier stage, whose files this job gets"
        )
    return (
        f"`{_short(command)}` needs a Docker daemon, and no job gets one; docker login, build, tag and push are done, "
        "and what is to run in an image is a job with that `image:`"
    )


def _short(command: _Command) -> str:
    return command.text[:80]


def _commands(script: Sequence[str]) -> Iterator[_Command]:
    """One command each; of a pipe its last part counts (`echo … | docker login …`)."""
    for number, text in enumerate(script):
        for line in text.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                before, _, command = part.rpartition("|")
                if command.strip() and not command.strip().startswith("#"):
                    yield _Command(command.strip(), before.strip(), number)


def _words(command: str, variables: Mapping[str, str]) -> list[str]:
    return [expand(word, variables).replace(_PLAIN_DOLLAR, "$") for word in _split(command)]


def _split(command: str) -> list[str]:
    """The words as written, with dollar signs that are no variables marked. Raises NotDocker."""
    guarded = _GUARDED.sub(lambda found: found[0].lstrip("\\").replace("$", _PLAIN_DOLLAR), command)
    try:
        return shlex.split(guarded)
    except ValueError as error:
        raise NotDocker(f"`{command[:80]}`: {error}") from None


def _login(command: _Command, variables: Mapping[str, str]) -> Iterator[RegistryLogin]:
    """Whose login it is, and which variable holds the password; nothing for one that cannot be told so."""
    words = _split(command.text)[2:]
    given: dict[str, str] = {}
    registry = ""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            registry = word
        elif name in (*_USER, *_PASSWORD):
            given[name] = value if equals else next(rest, "")
    user = next((given[name] for name in _USER if name in given), "")
    secret = next((given[name] for name in _PASSWORD if name in given), "")
    if not secret and command.piped:
        secret = _split(command.piped)[-1]
    variable = _VARIABLE.match(secret)
    if not user or variable is None:
        return
    named = _VARIABLE.match(user)
    name = (named[1] or named[2]) if named else ""
    yield RegistryLogin(
        registry=expand(registry, variables).partition("://")[2] or expand(registry, variables) or "docker.io",
        user=expand(user, variables).replace(_PLAIN_DOLLAR, "$"),
        user_variable=name if name not in variables else "",
        password_variable=variable[1] or variable[2],
    )


def _build(words: list[str], command: str) -> Make:
    tags: list[str] = []
    arguments: dict[str, str] = {}
    dockerfile, folder, target = "", "", ""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            folder = word
            continue
        if name in ("--pull", "--no-cache", "--quiet", "-q", "--rm", "--force-rm", "--load", "--push"):
            continue
        if name not in _VALUED:
            raise NotDocker(f"`{command[:80]}`: {name} is not known here")
        value = value if equals else next(rest, "")
        if name in ("-t", "--tag"):
            tags.append(value)
        elif name in ("-f", "--file"):
            dockerfile = value
        elif name == "--target":
            target = value
        elif name == "--build-arg":
            key, _, text = value.partition("=")
            arguments[key] = text
    if not folder or folder.startswith("/") or ".." in folder.split("/"):
        raise NotDocker(f"`{command[:80]}`: the folder to build must be one inside the repository, such as `.`")
    folder = "" if folder in (".", "./") else folder.removeprefix("./").rstrip("/")
    dockerfile = dockerfile or f"{folder}/Dockerfile".lstrip("/")
    return Make(
        "dockerfile",
        folder,
        dockerfile=dockerfile,
        arguments=arguments,
        target=target,
        is_cached="--no-cache" not in words,
        tags=tuple(tags),
    )
