"""Which of an App's wishes cannot reach its objects, because these are made by others: by jobs, or as own manifests."""

from collections.abc import Iterator

import msgspec

from fairway.delivery.kinds.apps import App, Environment
from fairway.delivery.kinds.releases import Release

_GENERATED = "generated"


def unmet(app: App, environment: Environment, newest: Release | None) -> Iterator[str]:
    """Each wish for an environment that has no effect on its newest Release: field, value, why, and what to do."""
    number = next((at for at, one in enumerate(app.spec.environments) if one.name == environment.name), None)
    here = "spec" if number is None else f"spec.environments[{number}]"
    if environment.replicas != 1 and (why := replicas(app, environment.name, newest)):
        yield f"{here}.replicas: {environment.replicas}: {why}"
    if not (why := variables(app, environment.name, newest)):
        return
    listed = app.spec.environments[number] if number is not None else Environment()
    own, of_all = [variable.name for variable in listed.env], [variable.name for variable in app.spec.env]
    named = ((f"{here}.env", own), ("spec.env", of_all), (f"{here}.secrets", listed.secrets))
    for field, names in (*named, ("spec.secrets", app.spec.secrets)):
        if names:
            yield f"{field}: {', '.join(names)}: {why}"


def replicas(app: App, environment: str, newest: Release | None) -> str:
    """Why a number of replicas has no effect in an environment, and what to do; "" where it has one."""
    if newest is not None and newest.spec.adopted:
        return f"{_jobs(environment, newest)}; set spec.replicas in the manifest that the job applies, and push"
    match app.spec.deploy.mode:
        case "generated":
            return ""
        case "helm":
            return f"{_manifests(app)}; set it in spec.deploy.values, by the name that the chart has for it"
        case _:
            return f"{_manifests(app)}; set spec.replicas in the manifest there, and push"


def variables(app: App, environment: str, newest: Release | None) -> str:
    """Why variables have no effect in an environment, and what to do; "" where they have one, or that is not known."""
    if newest is None:
        return ""
    if newest.spec.adopted:
        return f"{_jobs(environment, newest)}; set them in the manifest that the job applies, and push"
    configuration = newest.spec.configuration
    if app.spec.deploy.mode == _GENERATED or not configuration:
        return ""
    if configuration.encode() in msgspec.json.encode(newest.spec.manifests):
        return ""
    return f"{_manifests(app)}, and none takes the variables; {how_to_take(app)}"


def how_to_take(app: App) -> str:
    """How own manifests take the App's variables."""
    name = "{{ .Values.fairway.configuration }}" if app.spec.deploy.mode == "helm" else "${CONFIGURATION}"
    return f"give the container `envFrom: [{{secretRef: {{name: {name}}}}}]`, and push"


def _jobs(environment: str, newest: Release) -> str:
    return f"jobs of the pipeline made the objects of {environment} ({newest.metadata.name})"


def _manifests(app: App) -> str:
    deploy = app.spec.deploy
    return f'spec.deploy.mode {deploy.mode} takes the objects from the repository ("{deploy.path or "."}")'
