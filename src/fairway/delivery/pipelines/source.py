"""What a commit says about how it is built."""

from fairway.delivery.builds.target import own_repository, refusal
from fairway.delivery.config import Config
from fairway.delivery.git import Repositories
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.pipelines.containerfile import dockerfiles, with_runs
from fairway.delivery.pipelines.detect import SITE_FOLDERS, Tree, detect, wanted_files
from fairway.delivery.pipelines.document import BYTES_MAX
from fairway.delivery.pipelines.ir import Pipeline, Problem
from fairway.delivery.pipelines.variables import Commit, predefined
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.oci.reference import InvalidReference, parse

_TEXT_BYTES_MAX = BYTES_MAX + 1


async def pipeline_of(config: Config, repositories: Repositories, app: App, run: PipelineRun) -> Pipeline | Problem:
    """Read the commit and decide how it is built. Raises SourceError."""
    variables = predefined(commit_of(config, app, run))
    variables |= {one.name: one.value for one in app.spec.build.variables if one.value_from is None}
    if app.spec.build.strategy == "image":
        return detect(Tree(frozenset()), app.spec.build, variables)
    found = detect(await _tree(repositories, app, run), app.spec.build, variables)
    if isinstance(found, Problem):
        return found
    if problem := foreign_image(config, found, app.metadata.namespace):
        return problem
    key, folder, texts = app.metadata.key, app.spec.source.path.strip("/"), dict[str, str]()
    for path in dockerfiles(found):
        data = await repositories.read_file(key, run.spec.commit, _join(folder, path), _TEXT_BYTES_MAX)
        if data is not None:
            texts[path] = data.decode("utf-8", "replace")
    own = own_repository(config.registry, app.metadata.namespace, app.metadata.name)
    stem = f"{run.metadata.name}-{run.metadata.uid[:8]}"  # another run of this name has other images
    return with_runs(found, texts, own, stem, app.spec.build.variables)


def foreign_image(config: Config, pipeline: Pipeline, namespace: str) -> Problem | None:
    """The first job that would run in an image of another namespace. Names that are none fail where they are used."""
    own_names = frozenset((config.registry, *config.registry_names))
    for job in pipeline.jobs:
        for name in (job.image, *(service.image for service in job.services)):
            try:
                problem = refusal(parse(name), own_names, namespace) if name else ""
            except InvalidReference:
                continue
            if problem:
                return Problem(problem, field=f"{job.name}.image")
    return None


def commit_of(config: Config, app: App, run: PipelineRun) -> Commit:
    """The commit of a run, as jobs know it."""
    return Commit(
        app=app.metadata.name,
        namespace=app.metadata.namespace,
        number=run.spec.number,
        sha=run.spec.commit,
        ref=run.spec.ref or app.spec.source.branch,
        title=run.spec.message,
        path=app.spec.source.path,
        default_branch=app.spec.source.branch,
        trigger=run.spec.trigger.kind,
        repository=app.spec.registry.repository
        or own_repository(config.registry, app.metadata.namespace, app.metadata.name),
        url=app.spec.source.repository or app.status.git_url,
        actor=run.spec.trigger.actor,
    )


async def _tree(repositories: Repositories, app: App, run: PipelineRun) -> Tree:
    """The names at the top of the app's folder, and the texts that matter."""
    key, folder = ObjectKey(app.metadata.namespace, app.metadata.name), app.spec.source.path.strip("/")
    entries = await repositories.entries(key, run.spec.commit, folder)
    names = frozenset(entry.name for entry in entries)
    files: dict[str, str] = {}
    for path in wanted_files(app.spec.build):
        if path.partition("/")[0] in names:
            data = await repositories.read_file(key, run.spec.commit, _join(folder, path), _TEXT_BYTES_MAX)
            if data is not None:
                files[path] = data.decode("utf-8", "replace")
    sites = []
    if "index.html" not in names:
        for name in SITE_FOLDERS:
            inner = await repositories.entries(key, run.spec.commit, _join(folder, name)) if name in names else ()
            if any(entry.name == "index.html" for entry in inner):
                sites.append(name)
    return Tree(names, files, tuple(sites))


def _join(folder: str, path: str) -> str:
    return f"{folder}/{path}" if folder else path
