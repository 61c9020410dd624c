"""The room's third loop: one environment of one App at a time; its newest Release is what is wanted."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fairway.delivery.config import Config
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APPS, MANAGED_BY, MANAGED_BY_LABEL, RELEASES
from fairway.delivery.releases import drift, status
from fairway.delivery.releases.apply import Applier, Generations, app_uid, names_of
from fairway.delivery.releases.create import place_of_release
from fairway.delivery.releases.diagnosis import crash_loop, diagnose
from fairway.delivery.releases.freeze import hidden_values
from fairway.delivery.releases.objects import Live, Name, Place, name_of, place_of
from fairway.delivery.releases.opening import FrontDoor, Opening
from fairway.delivery.releases.plan import POLICY, REFUSED, Row
from fairway.delivery.releases.repeat import repeat
from fairway.delivery.releases.report import Report
from fairway.delivery.releases.retention import forget, forget_all
from fairway.delivery.releases.status import WORKLOADS, Progress, Workload
from fairway.delivery.releases.world import IsGone, Problem, ReleaseRefused
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import Condition, ObjectKey, timestamp
from fairway.kube.api.noun import decode, encode
from fairway.kube.api.resource import INGRESSES, SECRETS, SERVICES, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

BY_PLACE = "place"
ROOM = "delivery-releases"
_LOOK_SECONDS = 2.0
OPENING_SECONDS = 5.0
_OPENING_LOOK_SECONDS = 0.02
_OPENING_TOLD_SECONDS = 1.0
log = logs.get("delivery")
Raw = dict[str, Any]
# StatefulSets, DaemonSets and Jobs have no deadline of their own: they get the App's for each pod, and this.
_PATIENCE_SECONDS = 30


async def run_releases(
    client: ApiClient,
    config: Config,
    clock: Clock,
    door: FrontDoor | None = None,
    *,
    opening_seconds: float = OPENING_SECONDS,
    is_gone: IsGone | None = None,
) -> None:
    """Keep every environment at its newest Release until cancelled.

    A Release whose pods are ready waits so long at most for a `door` that leads to them, then it is live with a remark.
    One whose image `is_gone` is refused.
    """
    controller = ReleaseController(client, clock, door, opening_seconds, is_gone)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(*controller.reflectors))
        await wait_synced(*controller.reflectors)
        controller.begin()
        tasks.create_task(run_keyed(ROOM, controller.queue, controller.reconcile))


class ReleaseController:
    """Reads caches, asks `plan` and `status`, and does what they say."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        door: FrontDoor | None = None,
        opening_seconds: float = OPENING_SECONDS,
        is_gone: IsGone | None = None,
    ) -> None:
        self._is_gone = is_gone
        self.queue: WorkQueue[Place] = WorkQueue()
        self._client = client
        self._clock = clock
        self._report = Report(client, clock)
        self._applier = Applier(client)
        self._opening = Opening(client, door)
        self._opening_seconds = opening_seconds
        self._ready_since: dict[str, float] = {}  # by the uid of a Release
        by_place = {BY_PLACE: lambda release: (str(place_of_release(release)),)}
        self._releases = Reflector(client, RELEASES, Release, clock, indexes=by_place)
        self._apps = Reflector(client, APPS, App, clock)
        ours = f"{MANAGED_BY_LABEL}={MANAGED_BY}"
        self._workloads: dict[Resource, Reflector[Workload]] = {
            resource: Reflector(client, resource, Workload, clock, labels=ours) for resource in WORKLOADS
        }
        self._others: dict[Resource, Reflector[Live]] = {
            resource: Reflector(client, resource, Live, clock, labels=ours) for resource in (SERVICES, INGRESSES)
        }
        self.reflectors: tuple[Reflector[Any], ...] = (
            self._releases,
            self._apps,
            *self._workloads.values(),
            *self._others.values(),
        )
        self._applied: dict[str, Generations] = {}  # by the uid of a Release: what this process wrote
        self._tidied: set[str] = set()  # uids of Releases after which this process has cleared away

    def begin(self) -> None:
        """Look at everything once, then at what changes."""
        for release in self._releases.cache.values():
            self.queue.add(place_of_release(release))
        self._releases.cache.subscribe(self._release_changed)
        self._apps.cache.subscribe(self._app_changed)
        for workload in self._workloads.values():
            workload.cache.subscribe(self._object_changed)
        for other in self._others.values():
            other.cache.subscribe(self._object_changed)

    async def reconcile(self, place: Place) -> float | None:
        """Take the next step; returns after how many seconds to look again if nothing happens."""
        app = self._apps.cache.get(place.key)
        releases = self._of(place, app)
        if app is None or app.metadata.deletion_timestamp is not None or not releases:
            return None  # what belonged to the App goes with it
        row = Row(releases)
        if all(one.name != place.environment for one in environments(app)):
            await self._retire(place, row)
            return None
        for release in row.overtaken:
            await self._report.superseded(release, row.newest)
        for failed, after in row.unmarked:
            await self._report.patch(failed, {"rolledBackTo": after.metadata.name})
        if row.newest.status.phase in ("", "Pending"):
            return await self._begin(place, app, row, row.newest)
        if row.target is not None:
            return await self._go_back(row, row.target)
        current = row.current
        if current is not None and current.status.phase == "Rolling":
            return await self._roll(place, app, row, current)
        if current is not None and current.status.phase == "Live":
            return await self._keep(place, app, row, current)
        return None

    def _of(self, place: Place, app: App | None) -> tuple[Release, ...]:
        """The Releases of the App that exists now: those of one that had its name before are on their way out."""
        found = self._releases.cache.by_index(BY_PLACE, str(place))
        uid = app.metadata.uid if app is not None else ""
        mine = (one for one in found if app_uid(one) in ("", uid) and one.metadata.deletion_timestamp is None)
        return tuple(sorted(mine, key=lambda one: one.spec.number))

    # --- steps

    async def _begin(self, place: Place, app: App, row: Row, release: Release) -> float | None:
        problem = await self._applier.problem(release) or await self._without_image(row, release)
        if problem is not None:
            await self._report.failed(release, row, REFUSED, problem.text)
            return None
        now = self._clock.now()
        patched = await self._report.patch(
            release, {"phase": "Rolling", "startedAt": timestamp(now), "message": "applying"}
        )
        if patched is None:
            return None
        await self._report.tell(release, "Normal", "Rolling", f"v{release.spec.number} goes to {place.environment}")
        return await self._roll(place, app, row, patched)

    async def _without_image(self, row: Row, release: Release) -> Problem | None:
        """An image that somebody removed is told before anything changes.

        One that was built just now is there, and pods that run already need none: so the policy may always go back.
        """
        spec, live = release.spec, row.live
        image, running = spec.image, live is not None and live.spec.image == spec.image
        if self._is_gone is None or not image or running or spec.reason == "deploy" or spec.actor == POLICY:
            return None
        if not await self._is_gone(image):
            return None
        again = f"choose another Release, or push commit {release.spec.commit[:12]} again"
        return Problem(f"its image {image} is gone from the registry: {again}")

    async def _roll(self, place: Place, app: App, row: Row, release: Release) -> float | None:
        if release.metadata.uid not in self._applied:
            applied = await self._applier.apply(release)
            if isinstance(applied, Problem):
                await self._report.failed(release, row, "ApplyFailed", applied.text)
                return None
            self._applied[release.metadata.uid] = applied
        if release.spec.broken:
            await self._diagnosed(place, release, row, "RunFailed", release.spec.broken)
            return None
        parts = self._progress(release)
        now = status.together(parts.values())
        if now.failed:
            await self._diagnosed(place, release, row, now.reason, now.failed)
            return None
        if now.done:
            return await self._open(release)
        self._ready_since.pop(release.metadata.uid, None)
        left = self._seconds_left(release, app, now)
        if left is not None and left <= 0:
            await self._diagnosed(place, release, row, "DeadlineExceeded", f"{status.message(now)} in time")
            return None
        if crash := await self._crashing(place, release):
            await self._diagnosed(place, release, row, "CrashLoop", crash)
            return None
        if (text := status.message(now)) != release.status.message:
            await self._report.patch(release, {"message": text})
        return _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)

    async def _open(self, release: Release) -> float | None:
        """Every pod is ready; it is live when people get there."""
        uid, now_seconds = release.metadata.uid, self._clock.monotonic()
        waited_seconds = now_seconds - self._ready_since.setdefault(uid, now_seconds)
        problem = await self._opening.problem(release)
        if not problem or waited_seconds >= self._opening_seconds:
            await self._report.live(release, problem)
            self._ready_since.pop(uid, None)
            return None
        text = f"every pod is ready; waiting for the edge: {problem}"
        if waited_seconds >= _OPENING_TOLD_SECONDS and text != release.status.message:
            await self._report.patch(release, {"message": text})
        return _OPENING_LOOK_SECONDS + waited_seconds / 10

    async def _keep(self, place: Place, app: App, row: Row, release: Release) -> float | None:
        """What is live stays as it was released, but for what people changed on purpose."""
        # One that is being deleted cannot be had back before it is gone; then the watch tells.
        missing = frozenset(name for name, live in self._seen(release).items() if live is None)
        if missing and not release.spec.adopted:  # what jobs made may be in the hands of the next job
            await self._restore(release, missing)
        await self._show_drift(release)
        if release.metadata.uid in self._tidied:
            return None
        gone = await self._applier.prune(place, names_of(row.releases), names_of((release,)))
        if gone:
            log.info("pruned", release=release.metadata.key, objects=",".join(map(str, gone)))
        await forget(self._client, place, row, app.spec.history.releases, self._clock.now())
        self._tidied.add(release.metadata.uid)
        return None

    async def _retire(self, place: Place, row: Row) -> None:
        """The App no longer has this environment: its objects go first, for the Releases know what they are."""
        gone = await self._applier.prune(place, names_of(row.releases), frozenset())
        await forget_all(self._client, place, row)
        log.info("retired", place=place, objects=",".join(map(str, gone)))

    async def _restore(self, release: Release, missing: frozenset[Name]) -> None:
        applied = await self._applier.apply(release, missing)
        if isinstance(applied, Problem):
            await self._report.tell(release, "Warning", "NotRestored", applied.text)
            return
        log.info("restored", release=release.metadata.key, objects=",".join(map(str, sorted(missing, key=str))))

    async def _go_back(self, row: Row, target: Release) -> float | None:
        failed = row.newest
        try:
            name = await repeat(self._client, target, row.releases, POLICY)
        except ReleaseRefused as error:
            await self._report.tell(failed, "Warning", "NotRolledBack", str(error))
            return None
        await self._report.patch(failed, {"rolledBackTo": name})
        await self._report.tell(failed, "Normal", "RolledBack", f"back to v{target.spec.number} as {name}")
        return None

    async def _crashing(self, place: Place, release: Release) -> str:
        """Nobody needs to wait for the deadline of a program that ends again and again."""
        selector = self._failing(release)
        return await crash_loop(self._client, place.namespace, selector) if selector else ""

    async def _diagnosed(self, place: Place, release: Release, row: Row, reason: str, text: str) -> None:
        selector = self._failing(release)
        hidden = await self._hidden(release)
        found = await diagnose(self._client, place.namespace, selector, hidden) if selector else None
        await self._report.failed(release, row, reason, text, found)

    # --- what is there

    def _progress(self, release: Release) -> dict[Name, Progress]:
        generations = self._applied.get(release.metadata.uid, {})
        namespace = release.metadata.namespace
        names = [name_of(one) for one in release.spec.manifests]
        found = {}
        for name in names:
            if name.resource in self._workloads:
                live = self._workloads[name.resource].cache.get(ObjectKey(namespace, name.name))
                found[name] = status.progress(
                    name, live, generations.get(name, 0), release.status.started_at, adopted=release.spec.adopted
                )
        return found

    def _seen(self, release: Release) -> dict[Name, Any]:
        """The metadata in the cluster of those objects of a Release that are watched; None for one that is missing."""
        found: dict[Name, Any] = {}
        watched: Mapping[Resource, Reflector[Any]] = {**self._workloads, **self._others}
        for name in names_of((release,)):
            if name.resource in watched:
                live = watched[name.resource].cache.get(ObjectKey(release.metadata.namespace, name.name))
                found[name] = live.metadata if live is not None else None
        return found

    def _failing(self, release: Release) -> Mapping[str, str]:
        """The pods' labels of the object that did not get there."""
        parts = self._progress(release)
        for manifest in release.spec.manifests:
            part = parts.get(name_of(manifest))
            if part is not None and not part.done:
                selector = (manifest.get("spec") or {}).get("selector") or {}
                labels: Mapping[str, str] = selector.get("matchLabels") or {}
                return labels
        return {}

    async def _hidden(self, release: Release) -> tuple[bytes, ...]:
        if not release.spec.configuration:
            return ()
        try:
            raw = await self._client.get(SECRETS, release.spec.configuration, release.metadata.namespace)
        except NotFound:
            return ()
        return hidden_values(decode(Secret, raw))

    async def _show_drift(self, release: Release) -> None:
        manifests = {name_of(one): one for one in release.spec.manifests}
        seen = self._seen(release)
        found = [
            (str(name), paths)
            for name, live in sorted(seen.items(), key=lambda entry: str(entry[0]))
            if live is not None and (paths := drift.changed(manifests[name], live))
        ]
        text = drift.text(found)
        before = next((one for one in release.status.conditions if one.type == "Drifted"), None)
        if (before.message if before is not None else "") == text:
            return
        state, reason = ("True", "ChangedByOthers") if found else ("False", "AsReleased")
        now = self._clock.now().replace(microsecond=0)
        others = tuple(one for one in release.status.conditions if one.type != "Drifted")
        mine = Condition(type="Drifted", status=state, reason=reason, message=text, last_transition_time=now)
        await self._report.patch(release, {"conditions": [encode(one) for one in (*others, mine)]})

    def _seconds_left(self, release: Release, app: App, now: Progress) -> float | None:
        """Until what nobody else measures has had time enough; None when there is nothing of that sort."""
        started = release.status.started_at
        if not now.undated or started is None:
            return None
        each = app.spec.deploy.progress_deadline_seconds
        deadline: datetime = started + timedelta(seconds=each * max(now.wanted, 1) + _PATIENCE_SECONDS)
        return (deadline - self._clock.now()).total_seconds()

    # --- hearing

    def _release_changed(self, _: ObjectKey, old: Release | None, new: Release | None) -> None:
        for release in filter(None, (old, new)):
            self.queue.add(place_of_release(release))
        if old is not None and new is None:
            self._applied.pop(old.metadata.uid, None)
            self._ready_since.pop(old.metadata.uid, None)
            self._tidied.discard(old.metadata.uid)

    def _app_changed(self, key: ObjectKey, old: App | None, new: App | None) -> None:
        if new is not None and (old is None or old.spec.environments != new.spec.environments):
            for release in self._releases.cache.values():
                if place_of_release(release).key == key:
                    self.queue.add(place_of_release(release))

    def _object_changed(self, key: ObjectKey, old: Any, new: Any) -> None:
        seen = new if new is not None else old
        place = place_of(key.namespace, seen.metadata.labels)
        if place is None or not self._releases.cache.by_index(BY_PLACE, str(place)):
            return
        if new is None:
            for release in self._releases.cache.by_index(BY_PLACE, str(place)):
                self._applied.pop(release.metadata.uid, None)
        self.queue.add(place)
