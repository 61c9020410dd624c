"""The room's first loop: one App at a time."""

from typing import Any

from fairway.delivery.apps.plan import Action, Deploy, Forget, Reconfigure, StartRun, plan
from fairway.delivery.apps.snapshot import Head, Hook, Snapshot
from fairway.delivery.apps.sources import Sources
from fairway.delivery.apps.status import status
from fairway.delivery.domains.claims import Claimant
from fairway.delivery.forges.keeper import HookState, Keeper
from fairway.delivery.kinds.apps import App, AppStatus, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APP_LABEL, APPS, PIPELINE_RUNS
from fairway.delivery.kinds.runs import PipelineRun, Trigger, run_name
from fairway.delivery.releases.adopt import adopt, reconfigure
from fairway.delivery.releases.create import ReleaseRefused, ReleaseWorld, create_release
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import encode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

BY_APP = "app"
_BEHIND_SECONDS = 1.0
log = logs.get("delivery")
Raw = dict[str, Any]


def app_of(thing: PipelineRun | Release) -> tuple[str, ...]:
    """The key of the App that a run or a Release belongs to, as an index."""
    return (str(ObjectKey(thing.metadata.namespace, thing.spec.app)),)


class AppController:
    """Looks at the branch, claims the domains, starts runs, and makes Releases of good ones."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        apps: Reflector[App],
        runs: Reflector[PipelineRun],
        releases: Reflector[Release],
        sources: Sources,
        claimant: Claimant,
        world: ReleaseWorld,
        git_url: str,
        url_suffix: str,
        hooks: Keeper,
    ) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._apps, self._runs, self._releases = apps.cache, runs.cache, releases.cache
        self._sources = sources
        self._claimant = claimant
        self._world = world
        self._git_url = git_url
        self._url_suffix = url_suffix
        self._hooks = hooks
        self._triggers: dict[ObjectKey, Trigger] = {}
        self._gone: set[ObjectKey] = set()
        """Apps that were seen to go."""

    def begin(self) -> None:
        """Look at every App once, then at those around which something changes."""
        for app in self._apps.values():
            self.queue.add(app.metadata.key)
        self._apps.subscribe(self._changed)
        self._runs.subscribe(self._around)
        self._releases.subscribe(self._around)

    def wake(self, key: ObjectKey, trigger: Trigger) -> None:
        """Somebody says that the branch has something new; what it is, is read from the repository."""
        self._triggers[key] = trigger
        self._sources.stale(key)
        self.queue.add(key)

    def host_freed(self, host: str) -> None:
        """A host can be had; "" stands for any. Apps that wait for it look again, those below a wildcard too."""
        below = host.removeprefix("*") if host.startswith("*.") else ""
        for app in self._apps.values():
            wished = [one for each in environments(app) for one in each.domains]
            if not host or host in wished or (below and any(one.endswith(below) for one in wished)):
                self.queue.add(app.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Do what is to be done now; returns after how many seconds to look at the branch again."""
        app = self._apps.get(key)
        if app is None:
            return await self._forget_app(key)
        if app.metadata.deletion_timestamp is not None:
            return None
        woken_by = self._triggers.get(key)
        runs, hook = self._of(self._runs, key), self._hooks.state(key)
        if hook is not None and hook.repository != app.spec.source.repository:
            hook = None  # it is of the repository before
        if hook is not None and hook.problem:
            head = Head(problem=hook.problem)
        else:
            head = await self._sources.head(app, runs[-1] if runs else None)
        hosts = tuple(dict.fromkeys(host for one in environments(app) for host in one.domains))
        claims = await self._claimant.claim(app, hosts)
        seen = Snapshot(app, head, runs, self._of(self._releases, key), claims.held, claims.refused, _hook_of(hook))
        problems: dict[str, str] = {}
        for action in plan(seen):
            await self._act(seen, action, problems)
        if not head.problem and self._triggers.get(key) is woken_by:
            self._triggers.pop(key, None)  # it told of nothing new; the next run is not its doing
        git_url = "" if app.spec.source.repository else f"{self._git_url}/{key.namespace}/{key.name}.git"
        await self._report(app, status(seen, problems, self._url_suffix, git_url, self._clock.now()))
        return self._sources.again_seconds(app)

    def _changed(self, key: ObjectKey, old: App | None, new: App | None) -> None:
        if new is None:
            self._gone.add(key)
        self.queue.add(key)

    async def _forget_app(self, key: ObjectKey) -> float | None:
        """Take away what an App had. One that nobody saw go may be new: pushes are taken as soon as the API has it."""
        if key not in self._gone and await self._exists(key):
            return _BEHIND_SECONDS
        self._triggers.pop(key, None)
        await self._claimant.release_all(key)
        await self._sources.forget(key)
        self._gone.discard(key)
        return None

    async def _exists(self, key: ObjectKey) -> bool:
        try:
            await self._client.get(APPS, key.name, key.namespace)
        except NotFound:
            return False
        return True

    def _of(self, cache: Any, key: ObjectKey) -> Any:
        return tuple(sorted(cache.by_index(BY_APP, str(key)), key=lambda one: one.spec.number))

    def _around(self, key: ObjectKey, old: PipelineRun | Release | None, new: PipelineRun | Release | None) -> None:
        for thing in (old, new):
            if thing is not None:
                self.queue.add(ObjectKey(key.namespace, thing.spec.app))

    async def _act(self, seen: Snapshot, action: Action, problems: dict[str, str]) -> None:
        match action:
            case StartRun():
                await self._start(seen, action)
            case Forget(run):
                metadata = run.metadata
                await self._forget(metadata.key, metadata.uid)
            case Deploy() | Reconfigure():
                try:
                    await self._release(seen.app, action)
                except ReleaseRefused as error:
                    problems["Released"] = str(error)

    async def _start(self, seen: Snapshot, action: StartRun) -> None:
        app = seen.app
        trigger = self._triggers.pop(app.metadata.key, Trigger(kind="poll" if app.spec.source.repository else "push"))
        name = run_name(app.metadata.name, action.number)
        run: Raw = {
            "apiVersion": PIPELINE_RUNS.api_version,
            "kind": PIPELINE_RUNS.kind,
            "metadata": {
                "name": name,
                "namespace": app.metadata.namespace,
                "labels": {APP_LABEL: app.metadata.name},
                "ownerReferences": [owner(app)],
            },
            "spec": {
                "app": app.metadata.name,
                "number": action.number,
                "commit": action.commit,
                "ref": f"refs/heads/{app.spec.source.branch}",
                "message": action.subject,
                "trigger": encode(trigger) | {"kind": trigger.kind},
            },
        }
        try:
            await self._client.create(PIPELINE_RUNS, run)
        except AlreadyExists:
            return  # the cache is behind; the watch brings it
        log.info("run", app=app.metadata.key, run=name, commit=action.commit, trigger=trigger.kind)

    async def _release(self, app: App, action: Deploy | Reconfigure) -> None:
        if isinstance(action, Deploy) and action.run.status.deploys:
            made = await adopt(self._world, app, action.environment, action.run)
            log.info("adopted", app=app.metadata.key, release=made, run=action.run.metadata.name)
            return
        if isinstance(action, Reconfigure) and action.release.spec.adopted:
            await reconfigure(self._world, app, action.environment, action.release)
            return
        if isinstance(action, Deploy):
            run = action.run
            made = await create_release(
                self._world,
                app,
                action.environment,
                image=run.status.image,
                port=run.status.port,
                user=run.status.user,
                commit=run.spec.commit,
                ref=run.spec.ref,
                run=run.metadata.name,
                reason="deploy",
                actor=run.spec.trigger.actor,
            )
            log.info("release", app=app.metadata.key, release=made, run=run.metadata.name, commit=run.spec.commit)
            return
        spec = action.release.spec
        await create_release(
            self._world,
            app,
            action.environment,
            image=spec.image,
            port=spec.port,
            user=spec.user,
            commit=spec.commit,
            ref=spec.ref,
            run=spec.run,
            reason="config",
        )

    async def _forget(self, key: ObjectKey, uid: str) -> None:
        try:
            await self._client.delete(
                PIPELINE_RUNS, key.name, namespace=key.namespace, uid=uid, propagation_policy="Background"
            )
        except NotFound:
            return

    async def _report(self, app: App, now: AppStatus) -> None:
        if now == app.status:
            return
        before, after = encode(app.status), encode(now)
        for name in ("releases", "released"):  # a merge patch must name what goes from a map
            after[name] = {**dict.fromkeys(before.get(name, {})), **after.get(name, {})}
        patch = {"status": {**dict.fromkeys(before), **after}, "metadata": {"uid": app.metadata.uid}}
        try:
            await self._client.patch(
                APPS, app.metadata.name, patch, namespace=app.metadata.namespace, subresource="status"
            )
        except NotFound:
            return


def _hook_of(state: HookState | None) -> Hook | None:
    if state is None:
        return None
    return Hook(state.status, state.reason, state.message, state.id, state.repository_id)


def owner(app: App) -> Raw:
    """The reference by which an App owns its runs and Releases."""
    metadata = app.metadata
    return {
        "apiVersion": APPS.api_version,
        "kind": APPS.kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
