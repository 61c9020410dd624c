"""App: a repository, a domain, and how the one becomes the other."""

from collections.abc import Mapping
from typing import Any

from fairway.delivery.kinds.resources import PRODUCTION
from fairway.kube.api.meta import Condition, ObjectMeta
from fairway.kube.api.noun import Noun


class Source(Noun, frozen=True):
    """Where commits come from. Without `repository` it is the built-in git endpoint."""

    repository: str = ""
    branch: str = "main"
    path: str = ""
    """The folder inside the repository that holds the app."""
    provider: str = ""
    """gitee, gitcode, github, gitlab, gitea, forgejo or git (no API); empty: told from the host."""
    api_url: str = ""
    credentials_secret: str = ""
    """A Secret with `token` (and, for git alone, `username`)."""
    ca_secret: str = ""
    """A Secret with `ca.crt`: whom to trust for this forge beside the public authorities."""
    webhook: bool = True
    write_pipeline_file: bool = False
    poll_seconds: int = 60


class Variable(Noun, frozen=True):
    """A name with a value, or with where a value is found (the shapes of a container's `env`)."""

    name: str
    value: str = ""
    value_from: Mapping[str, Any] | None = None


class Build(Noun, frozen=True):
    """How a commit becomes an image."""

    strategy: str = "auto"
    """auto, static, dockerfile, pipeline, image."""
    image: str = ""
    """The image in which `command` runs; with strategy image, the image to deploy."""
    command: str = ""
    output: str = ""
    dockerfile: str = "Dockerfile"
    target: str = ""
    """The stage of the Dockerfile to build; empty: the last."""
    pipeline_file: str = ""
    timeout_seconds: int = 1800
    retries: int = 0
    cpu: str = "2"
    memory: str = "2Gi"
    disk: str = "12Gi"
    """What a job's pod may write in all."""
    variables: tuple[Variable, ...] = ()
    cluster_access: str = "none"
    """namespace: jobs of a pipeline file that use kubectl may change the objects of the App's own namespace."""


class Target(Noun, frozen=True):
    """The registry that images go to; without `repository` the platform's own."""

    repository: str = ""
    credentials_secret: str = ""


class Probe(Noun, frozen=True):
    """What tells that a new version is ready."""

    path: str = ""
    """An HTTP path; empty: the port accepts connections."""
    port: int = 0
    initial_delay_seconds: int = 0
    period_seconds: int = 1
    timeout_seconds: int = 2
    failure_threshold: int = 3


class Runtime(Noun, frozen=True):
    """How the image runs."""

    port: int = 0
    """0: what the image exposes, else 80 for static sites and 8080 for programs."""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    probe: Probe | None = None
    resources: Mapping[str, Any] = {}
    termination_grace_period_seconds: int = 30


class Environment(Noun, frozen=True):
    """One place where the App runs: its domains, its size and its settings."""

    name: str = PRODUCTION
    domains: tuple[str, ...] = ()
    replicas: int = 1
    automatic: bool | None = None
    """Whether every good run is released here; by default only in the first environment."""
    env: tuple[Variable, ...] = ()
    secrets: tuple[str, ...] = ()
    """Secrets whose every key becomes a variable; their values are frozen into each Release."""
    secrets_revision: int = 0
    """Raise it when values in Secrets changed: that is a wish for a new Release."""


class Deploy(Noun, frozen=True):
    """How a Release becomes objects."""

    mode: str = "generated"
    """generated, manifests, kustomize or helm."""
    path: str = ""
    """The folder in the repository with manifests, the overlay or the chart."""
    values: Mapping[str, Any] = {}
    on_failure: str = "rollback"
    """rollback: go back to the last live Release; keep: leave the failed objects for a look (old pods serve on)."""
    progress_deadline_seconds: int = 120
    paused: bool = False
    """No new Release by itself; runs go on."""
    annotations: Mapping[str, str] = {}
    """Annotations of the generated Ingress."""


class History(Noun, frozen=True):
    """How much is retained for each environment."""

    releases: int = 10
    runs: int = 20


class AppSpec(Noun, frozen=True):
    source: Source = Source()
    build: Build = Build()
    registry: Target = Target()
    runtime: Runtime = Runtime()
    deploy: Deploy = Deploy()
    domains: tuple[str, ...] = ()
    """The domains of the first environment; more of them per environment."""
    replicas: int = 1
    env: tuple[Variable, ...] = ()
    secrets: tuple[str, ...] = ()
    secrets_revision: int = 0
    environments: tuple[Environment, ...] = ()
    history: History = History()


class AppStatus(Noun, frozen=True):
    observed_generation: int = 0
    phase: str = ""
    """Pending, Building, Deploying, Live, Failed."""
    conditions: tuple[Condition, ...] = ()
    url: str = ""
    commit: str = ""
    """The newest commit of the branch that has been seen."""
    last_run: str = ""
    releases: Mapping[str, str] = {}
    """Environment → the Release that is live there."""
    released: Mapping[str, int] = {}
    """Environment → the number of the newest run that was released there."""
    git_url: str = ""
    webhook: str = ""
    """The id of the webhook at the forge."""
    repository_id: str = ""
    """The forge's own id of the repository: another one under the same name is not fetched from."""
    repository_url: str = ""
    """The address that `repository_id` was learnt from."""


class App(Noun, frozen=True):
    """One App."""

    metadata: ObjectMeta = ObjectMeta()
    spec: AppSpec = AppSpec()
    status: AppStatus = AppStatus()


def environments(app: App) -> tuple[Environment, ...]:
    """The environments in order of promotion; without any there is `production`.

    What an App says at its top (domains, replicas, env, secrets) is about its first environment, but `env` and
    `secrets` are the defaults of all.
    """
    listed = app.spec.environments or (Environment(),)
    found = []
    for number, one in enumerate(listed):
        named = {variable.name for variable in one.env}
        found.append(
            Environment(
                name=one.name,
                domains=(*(app.spec.domains if number == 0 else ()), *one.domains),
                replicas=one.replicas if app.spec.environments else app.spec.replicas,
                automatic=one.automatic if one.automatic is not None else number == 0,
                env=(*(variable for variable in app.spec.env if variable.name not in named), *one.env),
                secrets=tuple(dict.fromkeys((*app.spec.secrets, *one.secrets))),
                secrets_revision=app.spec.secrets_revision + one.secrets_revision,
            )
        )
    return tuple(found)


def object_name(app: str, environment: str) -> str:
    """The name of an App's objects in an environment."""
    return app if environment == PRODUCTION else f"{app}-{environment}"
