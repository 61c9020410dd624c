"""One job of a pipeline file, after everything inherited is in it."""

from collections.abc import Mapping
from typing import Any

from fairway.delivery.pipelines import docker
from fairway.delivery.pipelines.conditions import expand
from fairway.delivery.pipelines.fields import Fields, kind
from fairway.delivery.pipelines.ir import Cache, Job, Make, Service
from fairway.delivery.pipelines.rules import Verdict
from fairway.delivery.pipelines.variables import of_job, slug

DEFAULT_IMAGE = "busybox:latest"
SCRIPT_BYTES_MAX = 96 * 1024
_RETRIES_MAX = 2
_NAME_LENGTH_MAX = 255
_REFUSED = ("trigger", "parallel", "secrets", "id_tokens", "run", "start_in", "pages")
_CLUSTER_TOOLS = ("kubectl", "helm", "k8s", "kustomize")
_POLICIES = ("pull-push", "pull", "push")


def read_job(fields: Fields, name: str, stage: str, variables: Mapping[str, str], verdict: Verdict) -> Job:
    """Raises PipelineError. `needs` and `inputs` are only those that the job names itself; see `needs`."""
    _check(fields, name)
    environment = _environment(fields, variables)
    known = of_job(variables, name, stage, environment)
    image = expand(_image(fields, "image"), known) or DEFAULT_IMAGE
    script = _script(fields)
    allowed, codes = _allow_failure(fields)
    if verdict.allow_failure is not None:
        allowed = verdict.allow_failure
    return Job(
        name=name,
        stage=stage,
        image=image,
        script=script,
        after_script=fields.texts("after_script"),
        services=_services(fields, known) if not docker.drives_docker(image, script) else (),
        variables={key: expand(value, known) for key, value in known.items()},
        artifacts=tuple(expand(path, known) for path in _paths(fields.inner("artifacts"), "paths")),
        artifacts_exclude=_paths(fields.inner("artifacts"), "exclude"),
        caches=tuple(_cache(one, known) for one in fields.mappings("cache")),
        when="manual" if verdict.when == "delayed" else verdict.when,
        allow_failure=allowed or (verdict.when == "manual" and verdict.allow_failure is None),
        allowed_exit_codes=codes,
        timeout_seconds=fields.seconds("timeout"),
        retries=_retries(fields),
        environment=environment,
        cluster=any(tool in image.rpartition("/")[2] for tool in _CLUSTER_TOOLS),
        make=_make(fields, image, script, known),
    )


def _check(fields: Fields, name: str) -> None:
    if len(name) > _NAME_LENGTH_MAX or not slug(name):
        fields.refuse("a job's name needs a letter or a digit, and has at most 255 characters")
    for key in _REFUSED:
        if key in fields.values:
            fields.refuse("is not supported", key)


def _script(fields: Fields) -> tuple[str, ...]:
    script = fields.texts("script")
    if not script:
        fields.refuse("the job has no script; add `script:` with at least one command")
    whole = (*fields.texts("before_script"), *script)
    if sum(len(line.encode()) for line in (*whole, *fields.texts("after_script"))) > SCRIPT_BYTES_MAX:
        fields.refuse(
            f"the script has more than {SCRIPT_BYTES_MAX} bytes; put it into a file of the repository", "script"
        )
    return whole


def _image(fields: Fields, name: str) -> str:
    """`image: name`, or the long form with `name`."""
    value = fields.values.get(name)
    return fields.inner(name).text("name") if isinstance(value, dict) else fields.text(name)


def _services(fields: Fields, variables: Mapping[str, str]) -> tuple[Service, ...]:
    found = []
    for number, item in enumerate(fields.items("services")):
        if isinstance(item, str):
            image, inner = item, Fields(fields.document, {}, ())
        elif isinstance(item, dict):
            inner = Fields(fields.document, item, (*fields.path, "services", number))
            image = inner.text("name")
        else:
            fields.refuse(f"a service is an image, not {kind(item)}", "services", number)
        image = expand(image, variables)
        aliases = inner.text("alias").replace(",", " ").split()
        found.append(
            Service(
                image=image,
                aliases=tuple(dict.fromkeys((*aliases, *_host_names(image)))),
                command=inner.texts("command"),
                entrypoint=inner.texts("entrypoint"),
                variables={**variables, **inner.variables("variables")},
            )
        )
    return tuple(found)


def _host_names(image: str) -> tuple[str, ...]:
    """`team/postgres:16` is reached as `team-postgres` and `team__postgres`."""
    name = image.partition("@")[0]
    name = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
    dashed = slug(name.replace("/", "-").replace(":", "-"))
    return (dashed,) if "/" in name else (slug(name),)


def _paths(fields: Fields, name: str) -> tuple[str, ...]:
    """Paths inside the workspace. Raises PipelineError for those that lead out of it."""
    found = fields.texts(name)
    for path in found:
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            fields.refuse(f"{path!r} is outside the project's folder", name)
    return found


def _cache(fields: Fields, variables: Mapping[str, str]) -> Cache:
    policy = fields.text("policy", "pull-push")
    if policy not in _POLICIES:
        fields.refuse(f"{policy!r} is none of {', '.join(_POLICIES)}", "policy")
    value: Any = fields.values.get("key")
    if isinstance(value, dict):
        key = "-".join((fields.inner("key").text("prefix"), *fields.inner("key").texts("files")))
    else:
        key = fields.text("key", "default")
    return Cache(expand(key, variables), _paths(fields, "paths"), policy)


def _environment(fields: Fields, variables: Mapping[str, str]) -> str:
    value = fields.values.get("environment")
    name = fields.inner("environment").text("name") if isinstance(value, dict) else fields.text("environment")
    return expand(name, variables)


def _allow_failure(fields: Fields) -> tuple[bool, tuple[int, ...]]:
    if not isinstance(fields.values.get("allow_failure"), dict):
        return fields.flag("allow_failure"), ()
    codes = fields.inner("allow_failure").texts("exit_codes")
    if not all(code.isdecimal() and int(code) < 256 for code in codes):
        fields.refuse("exit_codes must be numbers from 0 to 255", "allow_failure")
    return False, tuple(map(int, codes))


def _retries(fields: Fields) -> int:
    if isinstance(fields.values.get("retry"), dict):
        return fields.inner("retry").number("max", _RETRIES_MAX)
    return fields.number("retry", _RETRIES_MAX)


def _make(fields: Fields, image: str, script: tuple[str, ...], variables: Mapping[str, str]) -> Make | None:
    try:
        if docker.drives_docker(image, script):
            return docker.make(script, variables)
        wants_docker = docker.is_docker(image) or any(
            docker.is_docker(one.image) for one in _services(fields, variables)
        )
        if wants_docker and (problem := docker.daemon_wanted(script)) is not None:
            raise problem
    except docker.NotDocker as error:
        before = len(fields.texts("before_script"))
        where = ("script", error.number - before) if error.number >= before else ("before_script", error.number)
        fields.refuse(str(error), *where)
    return None
