"""The image store that builds write into, and the way to registries. The same input gives the same digest."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from fairway.delivery.builds import dockerfiles, layer_cache, layers
from fairway.delivery.builds.bases import Assemble, Bases, recipe_of, recipes_of
from fairway.delivery.builds.dockerfiles import Done, Turn, open_dockerfile
from fairway.delivery.builds.layer_cache import LayerCache
from fairway.delivery.builds.push import push
from fairway.delivery.builds.site import SITE_PORT, SITE_USER
from fairway.delivery.builds.target import BuildError, Built, Target, refusal
from fairway.delivery.git.errors import disk_text, is_full
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.content_store import StoreError
from fairway.toolkit.http_client import Dialer, dial
from fairway.toolkit.oci.authentication import Login
from fairway.toolkit.oci.context import ContextError
from fairway.toolkit.oci.distribution import RegistryClient, Settings
from fairway.toolkit.oci.dockerfile import DockerfileError
from fairway.toolkit.oci.documents import BadDocument
from fairway.toolkit.oci.pull import BadImage, pull
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse
from fairway.toolkit.oci.registry_errors import NotFound, RegistryError
from fairway.toolkit.oci.store import Image, ImageIncomplete, ImageStore
from fairway.toolkit.oci.streams import BadArchive
from fairway.toolkit.oci.upload import PushClient

Tell = Callable[[str], None]
Make = Callable[[ImageStore, Reference], Image]


class DockerfileOrder(msgspec.Struct, frozen=True):
    """A Dockerfile at `path` below `folder`, with the context `inner`; with `turn` only one part of it."""

    app: ObjectKey
    folder: Path
    inner: str
    path: str
    arguments: Mapping[str, str] = {}
    target: str = ""
    turn: Turn | None = None
    is_last: bool = True
    is_cached: bool = True


_PROBLEMS = (
    *(BadArchive, BadDocument, BadImage, ContextError, DockerfileError, ImageIncomplete, InvalidReference),
    *(OSError, RegistryError, StoreError),
)


class NoBase(BuildError):
    """An image to build upon cannot be had."""


class Images:
    """Makes images. Every method raises BuildError, whose text is for the person whose commit it is.

    With the node's own store an image is there for the kubelet as soon as it is named. Elsewhere the store is only a
    place to work in: bases are pulled into it, and every image is pushed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        is_node_store: bool,
        settings: Settings | None = None,
        dialer: Dialer = dial,
        own_names: frozenset[str] = frozenset(),
        assemble: Assemble | None = None,
    ) -> None:
        """`own_names` are those of the platform's own registry, where each namespace has its own images."""
        self.bases = Bases(assemble)
        self._own_names = own_names
        self._folder = folder
        self._settings = settings or Settings()
        self._dialer = dialer
        self._is_node_store = is_node_store

    async def static_image(
        self, base: str, folder: Path, target: Target, tell: Tell, *, port: int = SITE_PORT
    ) -> Built:
        """The files of a folder on the web server `base`."""
        wanted = _parsed(base)

        def make(store: ImageStore, reference: Reference) -> Image:
            return layers.site(store, wanted, folder, port, reference)

        built = await self._built(make, (wanted,), target, port, tell)
        return replace(built, user=SITE_USER)

    async def program_image(
        self,
        base: str,
        folder: Path,
        target: Target,
        tell: Tell,
        *,
        inner: str = "",
        command: tuple[str, ...],
        variables: Mapping[str, str],
        port: int,
    ) -> Built:
        """A program's folder (or only `inner` of it) below /app on `base`, started with `command`."""
        wanted = _parsed(base)

        def make(store: ImageStore, reference: Reference) -> Image:
            return layers.program(store, wanted, folder, inner, command, variables, port, reference)

        return await self._built(make, (wanted,), target, port, tell)

    async def dockerfile_image(self, order: DockerfileOrder, target: Target, tell: Tell) -> tuple[Built, Done]:
        """A Dockerfile, or a part of one; only what comes of the last part is pushed under the target's own name."""
        try:
            wanted = await asyncio.to_thread(
                open_dockerfile, order.folder, order.inner, order.path, dict(order.arguments), order.target
            )
            bases = dockerfiles.images_of(wanted.recipe)
        except _PROBLEMS as error:
            raise BuildError(_text(error)) from error
        for base in bases:
            self.check(base, order.app.namespace)
        done: list[Done] = []

        def make(store: ImageStore, reference: Reference) -> Image:
            cache = LayerCache(store, order.app) if order.is_cached else None
            turn = msgspec.structs.replace(order.turn, cache=cache) if order.turn else None
            if turn is None:
                done.append(Done(dockerfiles.whole(store, wanted, reference, tell)))
            else:
                done.append(dockerfiles.part(store, wanted, turn, reference, tell))
            image = done[0].image
            return layers.named(store, image, reference) if order.is_last else image

        built = await self._built(
            make, bases, target, 0, tell, lambda: order.is_last or bool(done[0].key and not done[0].cached)
        )
        return built, done[0]

    def forget_app(self, app: ObjectKey) -> None:
        """Nothing that was kept for an App's next build is left for another one of its name."""
        layer_cache.forget(self._folder, app)

    def kept_apps(self) -> tuple[ObjectKey, ...]:
        """The Apps for whose next build something is kept."""
        return tuple(layer_cache.apps(self._folder))

    def missing(self, images: Iterable[str]) -> tuple[str, ...]:
        """The bases among these that can be made here and are not yet. Blocks. Raises OSError."""
        if not self._is_node_store or not self.bases.possible:
            return ()
        store = ImageStore(self._folder)
        return tuple(recipe for recipe, wanted in recipes_of(images).items() if store.find(wanted) is None)

    def check(self, image: Reference, namespace: str) -> None:
        """Raises BuildError for an image of another namespace."""
        if problem := refusal(image, self._own_names, namespace):
            raise BuildError(problem)

    async def resolve(self, image: str, login: Login | None = None, *, namespace: str = "") -> Built:
        """An image that exists, by its digest."""
        wanted = _parsed(image)
        self.check(wanted, namespace)
        try:
            store = await asyncio.to_thread(ImageStore, self._folder)
            known = store.find(wanted)
            digest = wanted.digest or (known.digest if known else None)
            if digest is None:
                async with self._client(wanted.registry, login) as client:
                    digest = await client.digest(wanted.repository, wanted.target)
                    digest = digest or (await client.manifest(wanted.repository, wanted.target)).digest
        except _PROBLEMS as error:
            raise BuildError(f"{image}: {_text(error)}") from error
        exact = f"{wanted.name}@{digest}"
        if not known or not self._is_node_store:
            return Built(exact, 0)
        found = store.load(known)
        return Built(exact, _port(found), user_of(found))

    async def is_gone(self, image: str, login: Login | None = None) -> bool:
        """Whether an image by digest is sure to be had nowhere; one whose registry does not answer may be there.

        Raises nothing: this is only to know early what the nodes would find out.
        """
        try:
            wanted = parse(image)
            if self._is_node_store and await asyncio.to_thread(_is_whole, ImageStore(self._folder), wanted):
                return False
            async with self._client(wanted.registry, login) as client:
                await client.digest(wanted.repository, wanted.target)
        except NotFound:
            return True
        except _PROBLEMS:
            return False
        return False

    async def _built(
        self,
        make: Make,
        bases: tuple[Reference, ...],
        target: Target,
        port: int,
        tell: Tell,
        is_needed: Callable[[], bool] = lambda: True,
    ) -> Built:
        """Make an image, and push it when others than us need it."""
        try:
            reference = target.reference()
            store = await asyncio.to_thread(ImageStore, self._folder)
            for base in bases:
                await self._bring(store, base, tell)
            image = await asyncio.to_thread(partial(_locked, store, make, reference))
            if is_needed() and (target.push or not self._is_node_store):
                tell(f"pushing {reference}")
                await push(
                    store,
                    reference,
                    image.digest,
                    PushClient(reference.registry, dialer=self._dialer, login=target.login, settings=self._settings),
                )
        except _PROBLEMS as error:
            raise BuildError(_text(error)) from error
        if is_needed():
            tell(f"image {reference.name}@{image.digest}")
        return Built(f"{reference.name}@{image.digest}", port or _port(image), user_of(image))

    async def _bring(self, store: ImageStore, wanted: Reference, tell: Tell) -> None:
        """Fetch a base, unless it is one of those that are assembled on this machine."""
        if store.find(wanted) is not None:
            return
        recipe = recipe_of(wanted)
        if recipe is not None and self._is_node_store:
            await self.bases.ensure(recipe, tell)
            return
        tell(f"pulling {wanted}")
        try:
            async with self._client(wanted.registry, None) as client:
                await pull(store, client, wanted)
        except _PROBLEMS as error:
            raise NoBase(f"the base image {wanted} is not here and cannot be pulled: {_text(error)}") from error

    def _client(self, registry: str, login: Login | None) -> RegistryClient:
        return RegistryClient(registry, dialer=self._dialer, login=login, settings=self._settings)


def _parsed(image: str) -> Reference:
    try:
        return parse(image)
    except InvalidReference as error:
        raise BuildError(f"{image!r}: {error}") from None


def _is_whole(store: ImageStore, wanted: Reference) -> bool:
    """Whether the node needs no registry for an image."""
    name = store.find(wanted)
    if name is None:
        return False
    try:
        store.load(name)
    except ImageIncomplete:
        return False
    return True


def _locked(store: ImageStore, make: Make, reference: Reference) -> Image:
    """While an image is made, nothing is collected."""
    with store.blobs.lock(exclusive=False):
        return make(store, reference)


def _port(image: Image) -> int:
    """The first TCP port that an image exposes; 0 when it says none."""
    numbers = (port.partition("/") for port in image.config.exposed_ports)
    return next((int(number) for number, _, protocol in numbers if protocol in ("", "tcp") and number.isdecimal()), 0)


def user_of(image: Image) -> str:
    """Who an image runs as, when it says that in numbers and it is not root."""
    user, _, group = (image.config.user or "").partition(":")
    if not _is_id(user) or int(user) == 0 or (group and not _is_id(group)):
        return ""
    return f"{int(user)}:{int(group)}" if group else str(int(user))


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) < 1 << 31


def _text(error: BaseException) -> str:
    """Never where something is on this machine."""
    if isinstance(error, OSError) and is_full(error):
        return disk_text(error, "images")
    if isinstance(error, OSError) and error.filename:
        return f"{Path(str(error.filename)).name}: {error.strerror}"
    return str(error)
