"""The loop that keeps each App's webhook at its forge, and takes it away with the App."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fairway.delivery.forges import former, secret
from fairway.delivery.forges.connect import connect
from fairway.delivery.forges.credentials import key_of_secret
from fairway.delivery.forges.errors import ForgeBusy, ForgeError
from fairway.delivery.forges.forge import Forge, Hook, Repository
from fairway.delivery.git.errors import SourceError
from fairway.delivery.git.guard import Allowed
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import APPS
from fairway.kube.api.meta import ObjectKey, ObjectReference
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

FINALIZER = "fairway.dev/webhook"
_LOOK_AGAIN_SECONDS = 3600.0
_REFUSED_SECONDS = 300.0
_REMOVAL_SECONDS_MAX = 60.0
_REMOVAL_AGAIN_SECONDS = 5.0
log = logs.get("delivery")


class HookState(msgspec.Struct, frozen=True):
    """How it stands with an App's webhook; a condition's status, reason and message, and what was learnt.

    `repository` is the address that all this is about; `problem`: why nothing is to be fetched from there.
    """

    status: str
    reason: str
    message: str
    id: str = ""
    repository_id: str = ""
    problem: str = ""
    repository: str = ""


class _Outcome(msgspec.Struct, frozen=True):
    state: HookState
    again_seconds: float


Write = Callable[[App, Forge], Awaitable[None]]
"""Write the pipeline file. Raises ForgeError, SourceError."""


class Keeper:
    """What it learns goes into the App's status by way of `state`; `changed` is called when there is something new."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        apps: Reflector[App],
        public_url: str,
        allowed: Allowed,
        write: Write,
    ) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._apps = apps.cache
        self._public_url = public_url
        self._allowed = allowed
        self._write = write
        self._states: dict[ObjectKey, HookState] = {}
        self._due: dict[ObjectKey, tuple[tuple[str, int], float]] = {}
        self._leave_due: dict[ObjectKey, tuple[tuple[former.Spot, ...], float]] = {}
        self._events = EventRecorder(client, "fairway-delivery", clock)
        self._changed: Callable[[ObjectKey], None] = self.queue.add

    def begin(self, changed: Callable[[ObjectKey], None]) -> None:
        """Look at every App once, then at those that change."""
        self._changed = changed
        for app in self._apps.values():
            self.queue.add(app.metadata.key)
        self._apps.subscribe(lambda key, old, new: self.queue.add(key))

    def state(self, key: ObjectKey) -> HookState | None:
        """None while nothing is known."""
        return self._states.get(key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Raises ApiError, Unreachable."""
        app = self._apps.get(key)
        if app is None:
            self._forget(key)
            return None
        if app.metadata.deletion_timestamp is not None:
            self._forget(key)
            return await self._remove(app) if FINALIZER in app.metadata.finalizers else None
        left = await self._leave(app)
        if not _is_wanted(app):
            self._due.pop(key, None)
            self._states.pop(key, None)
            if left is None and FINALIZER in app.metadata.finalizers:
                await self._note(app, ())
            return left
        again = await self._keep_looking(app)
        return again if left is None else min(again, left)

    async def _keep_looking(self, app: App) -> float:
        key = app.metadata.key
        wish, now = (app.metadata.uid, app.metadata.generation), self._clock.monotonic()
        seen, due = self._due.get(key, (None, 0.0))
        if seen == wish and now < due:
            return due - now
        outcome = await self._look(app)
        state = msgspec.structs.replace(outcome.state, repository=app.spec.source.repository)
        self._due[key] = (wish, now + outcome.again_seconds)
        if self._states.get(key) != state:
            self._states[key] = state
            log.info("hook", app=key, ready=state.status, reason=state.reason)
            self._changed(key)
        return outcome.again_seconds

    def _forget(self, key: ObjectKey) -> None:
        self._due.pop(key, None)
        self._leave_due.pop(key, None)
        self._states.pop(key, None)

    async def _leave(self, app: App) -> float | None:
        """Take the webhooks away that are where the App's code no longer comes from; until that is done it is tried."""
        key, spots = app.metadata.key, former.left(app)
        if not spots:
            self._leave_due.pop(key, None)
            return None
        seen, due = self._leave_due.get(key, ((), 0.0))
        now = self._clock.monotonic()
        if seen == spots and now < due:
            return due - now
        stay, again = [], 0.0
        for spot in spots:
            problem, seconds = await self._take_away(app, spot)
            if not problem:
                await self._tell(app, "Normal", "WebhookRemoved", f"the webhook at {spot.repository} is taken away")
                continue
            stay.append(spot)
            again = max(again, seconds or _REFUSED_SECONDS)
            text = f"the webhook at {spot.repository} cannot be taken away and is tried again: {problem}"
            await self._tell(app, "Warning", "WebhookLeft", text)
        gone = [one for one in spots if one not in stay]
        if gone:
            await self._note(app, tuple(one for one in former.noted(app) if one not in gone))
        if not stay:
            self._leave_due.pop(key, None)
            return None
        self._leave_due[key] = (tuple(stay), now + again)
        return again

    async def _take_away(self, app: App, spot: former.Spot) -> tuple[str, float | None]:
        """Why it could not be done ("" when it is), and after how many seconds it may; None when it was refused."""
        known = await secret.read(self._client, app.metadata.key)
        if known is None:
            return "", None  # its URL is not known any more, and opens nothing
        try:
            forge = await connect(self._client, former.at(app, spot), self._allowed)
            if forge is None:
                return "no token for it is given any more", None
            await forge.remove_hook(self._url(app, known))
        except ForgeBusy as error:
            return str(error), error.again_seconds
        except (ForgeError, SourceError) as error:
            return str(error), None
        log.info("hook", app=app.metadata.key, removed=True, repository=spot.repository)
        return "", None

    async def _tell(self, app: App, kind: str, reason: str, text: str) -> None:
        meta = app.metadata
        about = ObjectReference(APPS.api_version, APPS.kind, meta.namespace, meta.name, meta.uid, meta.resource_version)
        await self._events.record(about, kind, reason, text)

    async def _look(self, app: App) -> _Outcome:
        known = await secret.ensure(self._client, app)
        if known is None:
            name = key_of_secret(app.metadata.key).name
            text = f"Secret {name} lacks the keys secret and path; delete it for a new one"
            return _Outcome(HookState("False", "NoSecret", text), _REFUSED_SECONDS)
        hook = Hook(self._url(app, known), known.secret)
        try:
            forge = await connect(self._client, app, self._allowed)
            if forge is None:
                return _Outcome(HookState("False", "ByHand", _by_hand(app, hook)), _REFUSED_SECONDS)
            return await self._keep(app, forge, hook)
        except ForgeBusy as error:
            return _Outcome(HookState("False", "ForgeBusy", str(error)), error.again_seconds)
        except ForgeError as error:
            text = f"{error}; {_by_hand(app, hook)}"
            return _Outcome(HookState("False", "Refused", text), _REFUSED_SECONDS)
        except SourceError as error:
            return _Outcome(HookState("False", "NoCredentials", str(error)), _REFUSED_SECONDS)

    async def _keep(self, app: App, forge: Forge, hook: Hook) -> _Outcome:
        """Raises ForgeError, ApiError."""
        repository = await forge.repository()
        if problem := _other(app, repository):
            return _Outcome(HookState("False", "RepositoryChanged", problem, problem=problem), _REFUSED_SECONDS)
        await self._note(app, former.with_present(app))  # before there is something to take away
        made = await forge.ensure_hook(hook)
        if app.spec.source.write_pipeline_file:
            await self._write(app, forge)
        text = f"pushes are told by webhook {made}"
        return _Outcome(HookState("True", "Created", text, made, repository.id), _LOOK_AGAIN_SECONDS)

    async def _remove(self, app: App) -> float | None:
        """The forges get a minute; a dead one must not hold an App for ever."""
        key, since = app.metadata.key, app.metadata.deletion_timestamp
        for spot in former.noted(app) or (former.present(app),):
            problem, seconds = await self._take_away(app, spot)
            if not problem:
                continue
            patient = since is None or (self._clock.now() - since).total_seconds() < _REMOVAL_SECONDS_MAX
            if seconds is not None and patient:
                return min(seconds, _REMOVAL_AGAIN_SECONDS)
            log.warning("hook", app=key, left=problem, repository=spot.repository)
        await self._note(app, ())
        return None

    async def _note(self, app: App, spots: tuple[former.Spot, ...]) -> None:
        """Write where webhooks are, and hold the App while there are any. Raises Conflict when it was changed."""
        metadata = app.metadata
        others = [one for one in metadata.finalizers if one != FINALIZER]
        finalizers = [*others, FINALIZER] if spots else others
        if spots == former.noted(app) and tuple(finalizers) == tuple(metadata.finalizers):
            return
        patch: dict[str, Any] = {
            "metadata": {
                "finalizers": finalizers,
                "annotations": {former.ANNOTATION: former.text(spots)},
                "resourceVersion": metadata.resource_version,
            }
        }
        try:
            await self._client.patch(APPS, metadata.name, patch, namespace=metadata.namespace)
        except NotFound:
            return

    def _url(self, app: App, known: secret.WebhookSecret) -> str:
        return f"{self._public_url}/hooks/{app.metadata.namespace}/{app.metadata.name}/{known.path}"


def _is_wanted(app: App) -> bool:
    return bool(app.spec.source.repository) and app.spec.source.webhook


def _by_hand(app: App, hook: Hook) -> str:
    """What a person pastes where; the secret itself only stands in the Secret."""
    name = key_of_secret(app.metadata.key).name
    where = f"create a webhook for pushes (application/json) in the settings of {app.spec.source.repository}"
    return f"{where}: its URL is {hook.url}, its secret is the key secret of Secret {name}; until then it is polled"


def _other(app: App, repository: Repository) -> str:
    """A repository that was deleted and made anew by somebody else has the same name, and is not the same."""
    bound = app.status.repository_id
    if not bound or app.status.repository_url != app.spec.source.repository or bound == repository.id:
        return ""
    what = f"{app.spec.source.repository} is another repository than before (id {repository.id}, was {bound})"
    return f"{what}; nothing is fetched from it; if that is right, create the App anew"
