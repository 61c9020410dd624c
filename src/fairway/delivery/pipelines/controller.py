"""The room's second loop: one PipelineRun at a time, from Queued to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from fairway.delivery.builds.bases import Making
from fairway.delivery.builds.target import BuildError
from fairway.delivery.config import Config
from fairway.delivery.git import Repositories, SourceError
from fairway.delivery.git.errors import GitFailed, disk_text
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import GROUP, PIPELINE_RUNS, VERSION
from fairway.delivery.kinds.runs import ENDED, STEP_FAILED, Change, PipelineRun, PipelineRunStatus, Step
from fairway.delivery.pipelines import changes, queue, status
from fairway.delivery.pipelines.credentials import file_credentials, masked_values, registry_credentials
from fairway.delivery.pipelines.ir import Pipeline, PipelineError, Problem
from fairway.delivery.pipelines.jobs import Jobs
from fairway.delivery.pipelines.logs import SUMMARY, Collector, Logs
from fairway.delivery.pipelines.names import step_name
from fairway.delivery.pipelines.objects import Objects, Refused, TakenName
from fairway.delivery.pipelines.plan import Decision, Facts, Start, Stop, Work, decide
from fairway.delivery.pipelines.render import Place, in_cluster
from fairway.delivery.pipelines.snapshot import JobSeen, see
from fairway.delivery.pipelines.source import pipeline_of
from fairway.delivery.pipelines.storage import Storage
from fairway.delivery.pipelines.tokens import Claim, Tokens
from fairway.delivery.pipelines.work import Order, Result, Workshop
from fairway.kube.api.meta import ObjectKey, ObjectReference
from fairway.kube.api.noun import decode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.oci.authentication import BadCredentials
from fairway.toolkit.oci.bases import how_to_have
from fairway.toolkit.oci.reference import InvalidReference, parse

ROOM = "delivery"
log = logs.get(ROOM)
_LOG_SECONDS = 10.0
_LOOK_AGAIN_SECONDS = 5.0
_BASE_SECONDS = 0.5


class RunController:
    """Admits runs, starts their jobs, does the platform's own steps, and says how it went."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        config: Config,
        apps: Reflector[App],
        runs: Reflector[PipelineRun],
        jobs: Jobs,
        repositories: Repositories,
        workshop: Workshop,
        storage: Storage,
        files: Logs,
        objects: Objects,
        tokens: Tokens,
    ) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._clock = clock
        self._config = config
        self._apps, self._runs, self._jobs = apps.cache, runs.cache, jobs
        self._repositories = repositories
        self._workshop = workshop
        self._storage = storage
        self._files = files
        self._objects = objects
        self._tokens = tokens
        self._events = EventRecorder(client, ROOM, clock)
        self._collector = Collector(client, files, jobs.pod_of, jobs.bells)
        self._begun: set[ObjectKey] = set()
        """Runs that were admitted here, perhaps before the cache shows them Running."""
        self._pipelines: dict[str, Pipeline] = {}
        """What the runs do, by their uid."""
        self._makings: dict[str, tuple[Making, ...]] = {}
        """The bases that runs wait for before they begin, by their uid."""

    def begin(self) -> None:
        """Look at every run once, and then at those around which something changes."""
        for run in self._runs.values():
            self.queue.add(run.metadata.key)
        self._runs.subscribe(self._changed)
        self._jobs.subscribe(self.queue.add)

    async def close(self) -> None:
        """End what still reads logs."""
        await self._collector.close()

    def _changed(self, key: ObjectKey, old: PipelineRun | None, new: PipelineRun | None) -> None:
        """A run that comes may overtake others, one that ends makes place: all open ones look again."""
        self.queue.add(key)
        self._files.bells.ring(key)
        if old is None or new is None or old.status.phase != new.status.phase or new.spec.cancelled:
            for run in self._runs.values():
                if run.status.phase not in ENDED:
                    self.queue.add(run.metadata.key)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Take the next step of a run; returns after how many seconds to look again if nothing happens."""
        run = self._runs.get(key)
        if run is None or run.status.phase in ENDED:
            self._begun.discard(key)
            if run is None:
                await asyncio.to_thread(self._forget, key)
            return None
        app = self._apps.get(ObjectKey(key.namespace, run.spec.app))
        if app is None:
            app = App(metadata=replace(run.metadata, name=run.spec.app))
            await self._stop(app, run, "Failed", "NoApp", f"there is no App {run.spec.app!r}")
        elif run.spec.cancelled:
            await self._stop(app, run, "Cancelled", "Cancelled", "cancelled")
        elif key in queue.superseded(self._runs.values()):
            await self._stop(app, run, "Superseded", "Superseded", "a newer commit took its place")
        elif run.status.phase == "Running":
            return await self._advance(app, run)
        elif self._admit(key):
            return await self._start(app, run)
        elif run.status.phase != "Queued":
            await self._write(run, status.queued(run, self._clock.now()))
        return None

    def _admit(self, key: ObjectKey) -> bool:
        """Whether it is a run's turn; there is no await between looking and taking the place."""
        known = [
            replace(run, status=replace(run.status, phase="Running"))
            if run.metadata.key in self._begun and run.status.phase not in ENDED
            else run
            for run in self._runs.values()
        ]
        if key not in queue.admitted(known, self._config.runs_max):
            return False
        self._begun.add(key)
        return True

    # --- beginning and ending

    async def _start(self, app: App, run: PipelineRun) -> float | None:
        """Decide what the run does, once and for all."""
        key, place = run.metadata.key, self._objects.place(app, run)
        try:
            pipeline = await self._objects.fixed(place) or await self._decide_pipeline(app, run, place)
        except (SourceError, GitFailed, PipelineError, Refused) as error:
            pipeline = Problem(str(error))
        if isinstance(pipeline, Problem):
            await self._end(app, run, run.status, "Failed", "CannotBuild", str(pipeline))
            return None
        self._pipelines[run.metadata.uid] = pipeline
        making, ready = await self._bases(run, pipeline)
        self._files.say(key, SUMMARY, (status.headline(pipeline), *pipeline.notes, *making))
        if not ready:
            return _BASE_SECONDS
        run = await self._write(run, status.running(run, pipeline.framework, self._clock.now()))
        log.info("began", run=key, framework=pipeline.framework, jobs=len(pipeline.jobs))
        return await self._advance(app, run)

    async def _bases(self, run: PipelineRun, pipeline: Pipeline) -> tuple[tuple[str, ...], bool]:
        """What is said of the base images that had to be made for a run, and whether none is under way any more.

        One that could not be made stops nothing here: what needs it says so, or the kubelet knows where to pull it.
        """
        uid = run.metadata.uid
        if uid not in self._makings:
            try:
                missing = await asyncio.to_thread(self._workshop.missing, pipeline)
            except OSError as error:
                return (disk_text(error, "images"),), True
            self._makings[uid] = self._workshop.begin(missing)
        makings = self._makings[uid]
        ready = all(one.task.done() for one in makings)
        if ready:
            del self._makings[uid]
        return tuple(line for one in makings for line in one.lines), ready

    async def _decide_pipeline(self, app: App, run: PipelineRun, place: Place) -> Pipeline | Problem:
        found = await pipeline_of(self._config, self._repositories, app, run)
        return found if isinstance(found, Problem) else await self._objects.fix(place, found)

    async def _stop(self, app: App, run: PipelineRun, phase: str, reason: str, message: str) -> None:
        """End a run early; it has ended when the processes of its jobs are gone."""
        place = self._objects.place(app, run)
        left = await self._objects.left(place)
        for raw in left:
            if not raw["metadata"].get("deletionTimestamp"):
                await self._objects.stop(place.namespace, raw["metadata"]["name"])
        if not left:
            await self._end(app, run, run.status, phase, reason, message)

    async def _end(
        self, app: App, run: PipelineRun, now: PipelineRunStatus, phase: str, reason: str, message: str
    ) -> None:
        key, place = run.metadata.key, self._objects.place(app, run)
        await self._objects.clean(place)
        await self._collector.stop(job.metadata.uid for job in self._jobs.of_run(run))
        now = replace(now, log_bytes=await asyncio.to_thread(self._files.size_bytes, key))
        now = await self._changed_objects(app, place, key, now)
        if now.deploys and not now.changes and phase == "Succeeded":
            message = changes.NOTHING
        await self._write(run, status.ended(now, phase, reason, message, self._clock.now()))
        self._begun.discard(key)
        self._pipelines.pop(run.metadata.uid, None)
        self._makings.pop(run.metadata.uid, None)
        if phase != "Failed":
            for job in self._jobs.of_run(run):
                await self._objects.stop(place.namespace, job.metadata.name)
        await asyncio.to_thread(self._storage.forget_run, key)
        kind = "Warning" if phase == "Failed" else "Normal"
        await self._events.record(_reference(run), kind, reason, message or now.image or phase)
        log.info("ended", run=key, phase=phase, reason=reason)

    async def _changed_objects(
        self, app: App, place: Place, key: ObjectKey, now: PipelineRunStatus
    ) -> PipelineRunStatus:
        """With what the jobs did to the cluster: their pods have told it by now."""
        try:
            pipeline = await self._pipeline(place)
        except (Refused, TakenName):
            pipeline = None
        ran = {step.name for step in now.steps if step.phase != "Skipped"}
        jobs = [one for one in pipeline.jobs if one.name in ran and in_cluster(one, app.spec.build)] if pipeline else []
        found: list[Change] = []
        for job in jobs:
            path = self._storage.changes(key, step_name(job.name))
            if await asyncio.to_thread(path.exists):
                found += changes.of_step(app, job, changes.notes(await asyncio.to_thread(path.read_bytes)))
        return replace(now, deploys=bool(jobs), changes=changes.together(found))

    def _forget(self, key: ObjectKey) -> None:
        """A run was deleted: what it left here goes too."""
        self._files.forget(key)
        self._storage.forget_run(key)

    # --- going on

    async def _advance(self, app: App, run: PipelineRun) -> float | None:
        """Act and write until nothing more can be done at once."""
        place = self._objects.place(app, run)
        pipeline = await self._pipeline(place)
        if pipeline is None:
            await self._end(
                app, run, run.status, "Failed", "NoPipeline", "what the run was to do is gone; start another"
            )
            return None
        while True:
            seen = await self._see(app, run, pipeline)
            decision = decide(
                Facts(place.run, pipeline, run.status.steps, seen, app.spec.build.retries, self._clock.now())
            )
            steps = await self._act(place, app, pipeline, decision)
            run = await self._write(run, replace(run.status, steps=steps))
            if steps != decision.steps:
                continue  # what failed to start decides on what comes after it
            work = next((action for action in decision.actions if isinstance(action, Work)), None)
            if work is not None:
                run = await self._work(app, run, pipeline, work)
                continue
            if decision.outcome:
                reason = "Built" if decision.outcome == "Succeeded" else STEP_FAILED
                await self._end(app, run, run.status, decision.outcome, reason, decision.message)
                return None
            stuck = any(one.stuck for one in seen.values())
            return _LOOK_AGAIN_SECONDS if stuck else None

    async def _pipeline(self, place: Place) -> Pipeline | None:
        found = self._pipelines.get(place.uid) or await self._objects.fixed(place)
        if found is not None:
            self._pipelines[place.uid] = found
        return found

    async def _see(self, app: App, run: PipelineRun, pipeline: Pipeline) -> dict[str, JobSeen]:
        """The jobs as they stand. Of those that ended just now, the log is here when this returns."""
        jobs = self._jobs.of_run(run)
        seen = see(jobs, self._jobs.pods_of(jobs), self._how_to_have)
        by_name = {job.metadata.name: job for job in jobs}
        over = {step.name for step in run.status.steps if step.phase not in ("Pending", "Running")}
        for step, one in seen.items():
            if step in over:
                continue
            job = by_name[one.name]
            self._collector.collect(run.metadata.key, step, one.attempt, job, self._secrets(app, run, step))
            if one.phase in ("Succeeded", "Failed"):
                await self._collector.settle(job, _LOG_SECONDS)
        return seen

    def _how_to_have(self, image: str) -> str:
        """What is to be done about an image that no registry gives; nothing is known of other people's nodes."""
        try:
            return how_to_have(parse(image)) if self._config.images_dir is not None else ""
        except InvalidReference:
            return ""

    def _secrets(self, app: App, run: PipelineRun, step: str) -> Callable[[], Awaitable[frozenset[bytes]]]:
        claim = Claim(run.metadata.namespace, run.metadata.name, run.metadata.uid, step)
        return partial(masked_values, self._client, app, self._tokens.issue(claim))

    async def _act(self, place: Place, app: App, pipeline: Pipeline, decision: Decision) -> tuple[Step, ...]:
        """Do what was decided; returns the steps, of which those that could not be started have failed."""
        jobs = {job.name: job for job in pipeline.jobs}
        refused: dict[str, str] = {}
        for action in decision.actions:
            match action:
                case Start():
                    try:
                        await self._objects.start(place, app, jobs[action.step], action)
                    except Refused as error:
                        refused[action.step] = str(error)
                        continue
                    log.info("started", run=f"{place.namespace}/{place.run}", step=action.step, attempt=action.attempt)
                case Stop():
                    await self._objects.stop(place.namespace, action.job)
        return tuple(
            replace(
                step, phase="Failed", finished_at=self._clock.now(), message=f"cannot be started: {refused[step.name]}"
            )
            if step.name in refused
            else step
            for step in decision.steps
        )

    async def _work(self, app: App, run: PipelineRun, pipeline: Pipeline, work: Work) -> PipelineRun:
        """Do a step of the platform and write how it went, with the image when there is one."""
        job = next(job for job in pipeline.jobs if job.name == work.step)
        lines: list[str] = []

        def tell(line: str) -> None:
            lines.append(line)
            self._files.say(run.metadata.key, work.step, lines)

        result = Result()
        problem = ""
        try:
            credentials = await registry_credentials(self._client, app)
            credentials += await file_credentials(self._client, app, job)
            result = await self._workshop.make(Order(app=app, run=run, job=job, credentials=credentials), tell)
        except (BuildError, SourceError, GitFailed, BadCredentials) as error:
            problem = str(error)  # the step says it: in its log it would stand twice
        except OSError as error:
            problem = disk_text(error, "the files of builds")
        if result.settled:
            self._files.say(run.metadata.key, result.settled, [f"{status.CACHED}: {line}" for line in result.commands])
        fresh = status.worked(run.status, work.step, problem, result.settled, self._clock.now())
        if result.built is not None:
            built, names = result.built, dict(run.status.images)
            names |= dict.fromkeys(job.make.tags if job.make else (), built.image)
            fresh = replace(fresh, image=built.image, port=built.port, user=built.user, images=names)
        return await self._write(run, fresh)

    async def _write(self, run: PipelineRun, wanted: PipelineRunStatus) -> PipelineRun:
        """Write a status; returns the run as it is then. Raises Conflict when it was changed meanwhile."""
        patch = status.patch(run, wanted)
        if patch is None:
            return run
        key = run.metadata.key
        try:
            raw = await self._client.patch(
                PIPELINE_RUNS, key.name, patch, namespace=key.namespace, subresource="status"
            )
        except NotFound:
            return replace(run, status=wanted)  # deleted meanwhile: nobody reads it any more
        self._files.bells.ring(key)
        return decode(PipelineRun, raw)


def _reference(run: PipelineRun) -> ObjectReference:
    metadata = run.metadata
    return ObjectReference(
        api_version=f"{GROUP}/{VERSION}",
        kind="PipelineRun",
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
    )
