"""Make sure that an image is here, pulling it when the policy asks for it."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from fairway.engine.kubelet.images.errors import ImageNotPresent, InvalidName, PullError
from fairway.toolkit import logs
from fairway.toolkit.content_store import BlobNotFound
from fairway.toolkit.http_client import Dialer, dial
from fairway.toolkit.oci.authentication import Credential, Login, logins_for
from fairway.toolkit.oci.distribution import RegistryClient, Settings
from fairway.toolkit.oci.documents import BadDocument
from fairway.toolkit.oci.pull import BadImage, pull, unpack_in_process
from fairway.toolkit.oci.reference import DEFAULT_REGISTRY, InvalidReference, Reference, parse
from fairway.toolkit.oci.registry_errors import AccessDenied, NotFound, RegistryError, RegistryUnavailable
from fairway.toolkit.oci.store import Image, ImageIncomplete, ImageStore
from fairway.toolkit.oci.streams import BadArchive

Policy = Literal["Always", "IfNotPresent", "Never"]

_INCOMPLETE = (BlobNotFound, BadDocument, BadArchive, ImageIncomplete)

log = logs.get("kubelet")


class ImageService:
    """The images of one node.

    State under `state_dir/images`; `fairway image build` and the registry may write there at any time. Connections
    go through `dialer`, because the engine's own network namespace reaches nothing outside.
    """

    def __init__(self, state_dir: Path, dialer: Dialer = dial, *, settings: Settings | None = None) -> None:
        """Open the store and sweep what a crash left unfinished. Raises OSError."""
        self.store = ImageStore(state_dir / "images")
        self._dialer = dialer
        self._settings = settings or Settings(authorities=state_dir / "registries")
        self._pulls: dict[tuple[Reference, Login | None], _Pull] = {}
        self.store.sweep()

    async def ensure(self, reference: str, policy: Policy, credentials: tuple[Credential, ...] = ()) -> Image:
        """The image, pulled first when `policy` and the state of the node ask for it.

        An image that was built or imported here answers for its name also under `Always`: at once when the name is a
        Docker Hub one (nobody asks the Internet for a name that was given here), and for other registries when the
        registry cannot be reached or does not have it.
        Raises InvalidName, ImageNotPresent, PullError, OSError.
        """
        wanted = _parse(reference)
        present = await self._present(wanted)
        if policy == "Never":
            if present is None:
                raise ImageNotPresent(f'Container image "{reference}" is not present with pull policy of Never')
            return present
        if present is not None and (policy == "IfNotPresent" or _is_ours(present, wanted)):
            return present
        try:
            return await self._pull_with(wanted, credentials, present)
        except PullError:
            if present is None or present.origin != "local":
                raise
            return present

    async def may_pull(self, wanted: Reference, credentials: tuple[Credential, ...]) -> bool:
        """Whether one of the logins is good for an image at its registry. Raises PullError when that cannot be told."""
        for login in logins_for(wanted, credentials):
            try:
                async with RegistryClient(
                    wanted.registry, dialer=self._dialer, login=login, settings=self._settings
                ) as client:
                    await client.digest(wanted.repository, wanted.target)
                return True
            except AccessDenied:
                continue
            except RegistryError as error:
                raise _pull_error(wanted, error) from error
        return False

    def list(self) -> tuple[Image, ...]:
        """Every image that can run, one entry per name."""
        return self.store.list()

    def remove(self, reference: str) -> bool:
        """Forget a name and free what nothing else needs; whether there was such a name. Blocks. Raises InvalidName."""
        removed = self.store.remove(_parse(reference))
        self.store.collect()
        return removed

    async def aclose(self) -> None:
        """End the pulls that still run."""
        tasks = [running.task for running in self._pulls.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _present(self, wanted: Reference) -> Image | None:
        """The image if all of it is here; lost layers are unpacked again from their blobs."""
        name = self.store.find(wanted)
        if name is None:
            return None
        try:
            return self.store.load(name)
        except ImageIncomplete:
            pass
        try:
            manifest = self.store.manifest(name.facts.get("manifest", name.digest))
            for layer, diff_id in zip(manifest.layers, self.store.config(manifest).rootfs.diff_ids, strict=True):
                await unpack_in_process(self.store, layer.digest, diff_id)
            return self.store.load(name)
        except _INCOMPLETE as error:
            log.warning("found an image incomplete", image=name.name, error=error)
            return None

    async def _pull_with(self, wanted: Reference, credentials: tuple[Credential, ...], present: Image | None) -> Image:
        """Pull with each login that fits, else without one."""
        logins: tuple[Login | None, ...] = tuple(logins_for(wanted, credentials)) or (None,)
        for login in logins[:-1]:
            try:
                return await self._shared_pull(wanted, login, present)
            except PullError as error:
                if not isinstance(error.__cause__, AccessDenied):
                    raise
        return await self._shared_pull(wanted, logins[-1], present)

    async def _shared_pull(self, wanted: Reference, login: Login | None, present: Image | None) -> Image:
        """Everybody who wants the same image with the same login waits for one pull; it ends with the last of them."""
        key = (wanted, login)
        running = self._pulls.get(key)
        if running is None:
            running = _Pull(self._pull(wanted, login, present), lambda: self._pulls.pop(key, None))
            self._pulls[key] = running
        return await running.join()

    async def _pull(self, wanted: Reference, login: Login | None, present: Image | None) -> Image:
        started = asyncio.get_running_loop().time()
        try:
            async with RegistryClient(
                wanted.registry, dialer=self._dialer, login=login, settings=self._settings
            ) as client:
                if present is not None and await client.digest(wanted.repository, wanted.target) == present.digest:
                    return present
                with ExitStack() as stack:
                    # In a thread: whoever removes content may hold the lock for a while.
                    await asyncio.to_thread(stack.enter_context, self.store.blobs.lock(exclusive=False))
                    await pull(self.store, client, wanted)
        except (RegistryError, BadImage) as error:
            raise _pull_error(wanted, error) from error
        name = self.store.find(wanted)
        if name is None:
            raise PullError(f'image "{wanted}" was removed while it was pulled', retryable=True)
        seconds = asyncio.get_running_loop().time() - started
        image = self.store.load(name)
        log.info("pulled", image=wanted, bytes=image.size_bytes, seconds=f"{seconds:.2f}")
        return image


class _Pull:
    """One pull and how many wait for it."""

    def __init__(self, work: Coroutine[None, None, Image], forget: Callable[[], object]) -> None:
        self.task = asyncio.create_task(work)
        self._forget = forget
        self._waiting = 0
        self.task.add_done_callback(lambda task: forget())

    async def join(self) -> Image:
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        finally:
            self._waiting -= 1
            if self._waiting == 0 and not self.task.done():
                self._forget()
                self.task.cancel()


def _parse(reference: str) -> Reference:
    try:
        return parse(reference)
    except InvalidReference as error:
        message = f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": {error}'
        raise InvalidName(message) from error


def _is_ours(present: Image, wanted: Reference) -> bool:
    """Nothing to ask a registry about: a fixed digest, or a Docker Hub name that was given on this machine."""
    return wanted.digest is not None or (present.origin == "local" and wanted.registry == DEFAULT_REGISTRY)


def _pull_error(wanted: Reference, error: RegistryError | BadImage) -> PullError:
    """The words of containerd, which people and tools search for."""
    code, detail = "Unknown", f'failed to resolve reference "{wanted}": {error}'
    if isinstance(error, NotFound):
        code, detail = "NotFound", f'failed to resolve reference "{wanted}": {wanted}: not found'
    elif isinstance(error, BadImage):
        detail = str(error)
    message = f'rpc error: code = {code} desc = failed to pull and unpack image "{wanted}": {detail}'
    return PullError(message, retryable=isinstance(error, RegistryUnavailable))
