"""The steps that the platform does itself: the workspace of a commit and its artifacts becomes an image."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fairway.delivery.builds.bases import Making
from fairway.delivery.builds.dockerfiles import Turn
from fairway.delivery.builds.images import DockerfileOrder, Images, NoBase
from fairway.delivery.builds.site import SITE_PORT
from fairway.delivery.builds.target import BuildError, Built, Target, own_repository
from fairway.delivery.config import Config
from fairway.delivery.git import Repositories
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.pipelines.containerfile import OUTPUT
from fairway.delivery.pipelines.frameworks import OUTPUTS
from fairway.delivery.pipelines.ir import Job, Make, Pipeline
from fairway.delivery.pipelines.names import step_name
from fairway.delivery.pipelines.storage import Storage
from fairway.delivery.pipelines.unpacking import BadArtifacts, unpack
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import Noun
from fairway.toolkit.oci.authentication import Credential, Login, logins_for, parse_docker_config
from fairway.toolkit.oci.changes import Packed
from fairway.toolkit.oci.reference import DEFAULT_REGISTRY, InvalidReference, parse

Tell = Callable[[str], None]
CHECKOUT_BYTES_MAX = 1 << 30
_DEPTH_MAX = 3


class Order(Noun, frozen=True):
    """What is to be made, for whom, and with which logins."""

    app: App
    run: PipelineRun
    job: Job
    credentials: tuple[Credential, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """What a step made, and the step after it that need not be done any more, with its commands."""

    built: Built | None = None
    settled: str = ""
    commands: tuple[str, ...] = ()


def packed(folder: Path) -> Packed:
    """What commands left, as run_steps.py writes it."""
    mounts = (folder / "mounts").read_bytes().decode("utf-8", "surrogateescape").split("\0")
    return Packed(folder / "files.tar", folder / "paths", tuple(filter(None, mounts)))


class Workshop:
    """Makes the images of runs. One order at a time for each run; doing one twice gives the same image."""

    def __init__(self, config: Config, repositories: Repositories, images: Images, storage: Storage) -> None:
        self._config = config
        self._repositories = repositories
        self._images = images
        self._storage = storage

    def missing(self, pipeline: Pipeline) -> tuple[str, ...]:
        """The bases that a run needs and this machine could make, but has not. Blocks. Raises OSError."""
        wanted = {service.image for job in pipeline.jobs for service in job.services}
        for job in pipeline.jobs:
            if job.make is None:
                wanted |= {job.image, self._config.toolbox_image}
            else:
                wanted |= {self._config.site_base} if job.make.kind == "static" else {job.make.base}
        return self._images.missing(sorted(wanted - {""}))

    def begin(self, bases: tuple[str, ...]) -> tuple[Making, ...]:
        """Have bases made."""
        return tuple(self._images.bases.of(name) for name in bases)

    async def make(self, order: Order, tell: Tell) -> Result:
        """The image, unless there may be none. Raises BuildError, SourceError, OSError."""
        make = order.job.make
        assert make is not None
        if make.kind == "existing":
            namespace = order.app.metadata.namespace
            found = await self._images.resolve(make.base, login(order.credentials, make.base), namespace=namespace)
            return Result(found)
        folder = await asyncio.to_thread(self._storage.work_folder, order.run.metadata.key)
        workspace = folder / "workspace"
        await self._lay_out(order, workspace)
        root = workspace / order.app.spec.source.path.strip("/")
        return await self._image(order, make, root, tell)

    async def _lay_out(self, order: Order, workspace: Path) -> None:
        """The commit's files, and over them the artifacts of the jobs before, in their order."""
        key = ObjectKey(order.app.metadata.namespace, order.app.metadata.name)
        await self._repositories.checkout(key, order.run.spec.commit, "", workspace, bytes_max=CHECKOUT_BYTES_MAX)
        root = workspace / order.app.spec.source.path.strip("/")
        if not _inside(workspace, root):
            raise BuildError(f"spec.source.path: {order.app.spec.source.path} is no folder of the repository")
        for name in order.job.inputs:
            archive = self._storage.artifact(order.run.metadata.key, step_name(name))
            if archive.exists():
                await asyncio.to_thread(self._unpack, name, archive, root)

    async def _image(self, order: Order, make: Make, root: Path, tell: Tell) -> Result:
        if make.kind == "program":
            built = await self._images.program_image(
                make.base,
                root,
                target_of(self._config, order),
                tell,
                inner=make.folder,
                command=make.command,
                variables=make.arguments,
                port=order.app.spec.runtime.port or make.port,
            )
            return Result(built)
        if make.kind == "dockerfile" and (root / make.dockerfile).is_file():
            return await self._dockerfile(order, make, root, tell)
        return Result(await self._site(order, make, root, tell))

    async def _dockerfile(self, order: Order, make: Make, root: Path, tell: Tell) -> Result:
        """The whole image, or one part of it: then there is none yet, but for the last one."""
        if make.folder and not _inside(root, root / make.folder):
            raise BuildError(f"{make.folder} is no folder of the repository; a link cannot lead out of it")
        target = target_of(self._config, order, make.tags)
        if not make.is_last:
            repository, _, tag = f"{make.stem}-{make.part}".rpartition(":")
            target = replace(target_of(self._config, own(order)), repository=repository, tag=tag)
        wanted = DockerfileOrder(
            order.app.metadata.key,
            root,
            make.folder,
            make.dockerfile,
            make.arguments,
            make.target,
            await self._turn(order, make) if make.part else None,
            is_last=make.is_last,
            is_cached=make.is_cached,
        )
        built, done = await self._images.dockerfile_image(wanted, target, tell)
        if make.runs and not done.cached:
            note = self._storage.note(order.run.metadata.key, step_name(make.runs))
            await asyncio.to_thread(note.write_text, done.key)
        return Result(built if make.is_last else None, make.runs if done.cached else "", done.cached)

    async def _turn(self, order: Order, make: Make) -> Turn:
        """What the commands before this part left, and where the order for those after it goes."""
        run, ran, key = order.run.metadata.key, None, ""
        if make.ran:
            archive, note = (place(run, step_name(make.ran)) for place in (self._storage.artifact, self._storage.note))
            if archive.exists():
                folder = await asyncio.to_thread(self._storage.ran_folder, run)
                await asyncio.to_thread(self._unpack, make.ran, archive, folder)
                ran = packed(folder / OUTPUT)
            key = note.read_text() if note.exists() else ""
        place = self._storage.artifact(run, step_name(order.job.name))
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Turn(make.part, make.stem, place, ran, key)

    @staticmethod
    def _unpack(name: str, archive: Path, folder: Path) -> None:
        try:
            unpack(archive, folder)
        except BadArtifacts as error:
            raise BuildError(f"{name}: {error}") from error

    async def _site(self, order: Order, make: Make, root: Path, tell: Tell) -> Built | None:
        """Also what becomes of `docker build` without a Dockerfile: the platform has one for sites."""
        folder = await asyncio.to_thread(find_site, root, make.folder, make.kind == "static")
        if folder is None and make.optional:
            tell("there is no site in the workspace, so no image is made")
            return None
        if folder is None:
            if make.kind == "dockerfile":
                raise BuildError(f"there is neither a {make.dockerfile} nor a built site in {', '.join(OUTPUTS)}")
            where = make.folder or "the workspace"
            raise BuildError(f"there is no index.html in {where}; say where the build puts it with spec.build.output")
        tell(f"static files of {folder.relative_to(root)} on {self._config.site_base}")
        target = target_of(self._config, order, make.tags)
        port = order.app.spec.runtime.port or SITE_PORT
        try:
            return await self._images.static_image(self._config.site_base, folder, target, tell, port=port)
        except NoBase as error:
            raise BuildError(f"{error}; `fairway run delivery --site-base IMAGE` says what sites stand on") from error


def find_site(root: Path, wanted: str, exact: bool) -> Path | None:
    """The folder with the site: the one that was named, or a known one; then the index.html may be deeper in it."""
    if exact:
        return root / wanted if _inside(root, root / wanted) else None
    # a page at the top is the site itself, but with a package.json beside it only what a site is built from
    top = () if (root / "package.json").exists() else ("",)
    for name in (wanted,) if wanted else (*OUTPUTS, *top):
        folders: list[Path] = [root / name]
        for _ in range(_DEPTH_MAX):
            folders = [one for one in folders if _inside(root, one)]
            if found := next((one for one in folders if (one / "index.html").is_file()), None):
                return found
            folders = [inner for one in folders if name for inner in sorted(one.iterdir()) if not inner.is_symlink()]
    return None


def target_of(config: Config, order: Order, tags: tuple[str, ...] = ()) -> Target:
    """Where the image goes: what the App says, else what the pipeline file says, else the platform's own registry."""
    app, tag = order.app, order.run.spec.commit
    own = own_repository(config.registry, app.metadata.namespace, app.metadata.name)
    repository = app.spec.registry.repository or own
    if tags and not app.spec.registry.repository:
        try:
            named = parse(tags[0])
        except InvalidReference as error:
            raise BuildError(f"{tags[0]!r}: {error}") from None
        if named.registry != DEFAULT_REGISTRY:
            repository, tag = named.name, named.tag or tag
    if repository == own:
        known = platform_credentials(config)
        return Target(own, tag, push=bool(known), login=login(known, own))
    if f"{repository}/".startswith(f"{config.registry}/"):
        raise BuildError(f"{repository} is not this App's: in the platform's own registry its images are {own}")
    return Target(repository, tag, push=True, login=login(order.credentials, repository))


def own(order: Order) -> Order:
    """The same for the platform's own registry, whatever the App says."""
    spec = replace(order.app.spec, registry=replace(order.app.spec.registry, repository=""))
    return replace(order, app=replace(order.app, spec=spec))


def platform_credentials(config: Config) -> tuple[Credential, ...]:
    """The logins of the platform itself, for its own registry and nothing else. Raises BadCredentials, OSError."""
    if config.registry_credentials is None:
        return ()
    return parse_docker_config(config.registry_credentials.read_bytes())


def login(credentials: tuple[Credential, ...], image: str) -> Login | None:
    """The login that fits an image's registry best."""
    try:
        return next(logins_for(parse(image), credentials), None)
    except InvalidReference:
        return None


def _inside(root: Path, folder: Path) -> bool:
    """A folder of the workspace, not one that a link leads to."""
    return folder.is_dir() and folder.resolve().is_relative_to(root.resolve())
