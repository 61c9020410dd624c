"""A pipeline as it will run, wherever it came from: a file in the repository, or what was detected."""

from collections.abc import Mapping

import msgspec

IMAGE_STEP = "image"
"""The name of the platform's own step that makes the image."""
ALL = "**"
"""The artifact path that means the whole workspace but for caches and installed packages."""


class Cache(msgspec.Struct, frozen=True, omit_defaults=True):
    """Folders that live on from run to run under a key; `policy` is pull-push, pull or push."""

    key: str
    paths: tuple[str, ...]
    policy: str = "pull-push"


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container beside the job, reached at its `aliases`."""

    image: str
    aliases: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    variables: Mapping[str, str] = {}


class RegistryLogin(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `docker login` of the pipeline file. Passwords are named by their variable; this is kept in a ConfigMap."""

    registry: str
    user: str
    password_variable: str
    user_variable: str = ""
    """The variable that holds the user's name, when nothing in the file says it."""


class Make(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image that the platform makes itself. `kind` is static, site, program, dockerfile or existing.

    static: `folder` on the web server. site: the same, but the folder may be deeper or is looked for; with `optional`
    there may be none. program: the workspace (or `folder` of it) onto `base`, started with `command`, with `arguments`
    as its variables. dockerfile: `dockerfile` with the context `folder`. existing: `base` as it is.
    """

    kind: str
    folder: str = ""
    base: str = ""
    command: tuple[str, ...] = ()
    port: int = 0
    dockerfile: str = "Dockerfile"
    arguments: Mapping[str, str] = {}
    optional: bool = False
    target: str = ""
    """The stage of a Dockerfile that is wanted; empty: the last."""
    is_cached: bool = True
    """Whether layers of commands of earlier runs may be taken."""
    part: int = 0
    """Of a Dockerfile that runs commands: which part of it, from 1; 0 is all of it at once."""
    stem: str = ""
    """What the images of the parts are called, each with its number."""
    ran: str = ""
    """The job whose commands came before this part."""
    runs: str = ""
    """The job with the commands after this part; empty for the last part of a stage."""
    is_last: bool = True
    tags: tuple[str, ...] = ()
    """Names that the pipeline file gives the image; the first one's repository is where it is pushed."""
    logins: tuple[RegistryLogin, ...] = ()
    """What the pipeline file logs in with, besides the App's registry Secret."""


class Mount(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a command of a Dockerfile finds at `path`. `kind` is bind, cache, tmpfs, secret or variable.

    bind: `source` is its number among the files that the platform sends. cache: `source` is the cache's key. secret
    and variable (`path` is its name): `source` and `key` are a Secret and a key in it.
    """

    kind: str
    path: str
    source: str = ""
    key: str = ""
    read_only: bool = False
    mode: int = 0
    size_bytes: int = 0


class Box(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the commands of a Dockerfile are run: the job brings nothing but what its copy step has prepared."""

    where: str
    """File and lines, for messages."""
    mounts: tuple[Mount, ...] = ()
    has_network: bool = True


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """One job: a script in a container, or with `make` a step of the platform.

    `needs` must have ended before it starts; the artifacts of `inputs` are in its workspace.
    """

    name: str
    stage: str
    image: str = ""
    script: tuple[str, ...] = ()
    after_script: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    variables: Mapping[str, str] = {}
    needs: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    artifacts: tuple[str, ...] = ()
    artifacts_exclude: tuple[str, ...] = ()
    caches: tuple[Cache, ...] = ()
    when: str = "on_success"
    """on_success, on_failure, always or manual."""
    allow_failure: bool = False
    allowed_exit_codes: tuple[int, ...] = ()
    timeout_seconds: int = 0
    """0: what the App says."""
    retries: int = 0
    environment: str = ""
    cluster: bool = False
    """It is about the cluster (kubectl): it may get access to the App's namespace."""
    box: Box | None = None
    """It runs commands of a Dockerfile, with none of the App's variables."""
    make: Make | None = None


class Pipeline(msgspec.Struct, frozen=True, omit_defaults=True):
    """All jobs, stage by stage. `framework` and `why` say how it was found, `notes` what was left aside."""

    framework: str
    why: str
    jobs: tuple[Job, ...]
    notes: tuple[str, ...] = ()


class Problem(msgspec.Struct, frozen=True):
    """A mistake in a pipeline file or in what was to be built, for the person who wrote it."""

    message: str
    field: str = ""
    line: int = 0
    file: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.field}: {self.message}" if self.field else f"{place}{self.message}"


class PipelineError(Exception):
    """Carries a Problem out of nested reading; it ends as a value where the reading began."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
