"""The loop that tells the forge how a commit fares: beside it stand its run and its Releases."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from fairway.delivery.forges.connect import connect
from fairway.delivery.forges.errors import ForgeBusy, ForgeError
from fairway.delivery.forges.forge import CANCELLED, FAILURE, PENDING, RUNNING, SUCCESS, Report
from fairway.delivery.git.errors import SourceError, printable
from fairway.delivery.git.guard import Allowed
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import PIPELINE_RUNS, RELEASES
from fairway.delivery.kinds.runs import PipelineRun
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.reflector import Reflector
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

REPORTED = "fairway.dev/reported"
"""On runs and Releases: the last state that the forge was told, so that a restart does not tell it again."""

_RUNS: Mapping[str, str] = {
    "": PENDING,
    "Queued": PENDING,
    "Running": RUNNING,
    "Succeeded": SUCCESS,
    "Failed": FAILURE,
    "Cancelled": CANCELLED,
    "Superseded": CANCELLED,
}
_RELEASES: Mapping[str, str] = {"Pending": PENDING, "Rolling": RUNNING, "Live": SUCCESS, "Failed": FAILURE}
_TEXT_MAX = 140
_TOLD_WITHIN = timedelta(hours=1)
log = logs.get("delivery")


class Subject(msgspec.Struct, frozen=True):
    """A run, or a Release."""

    key: ObjectKey
    is_run: bool

    def __str__(self) -> str:
        return f"{'run' if self.is_run else 'release'} {self.key}"


class Reporter:
    """Only Apps with a repository, a token and an API that we know have something to be told."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        apps: Reflector[App],
        runs: Reflector[PipelineRun],
        releases: Reflector[Release],
        public_url: str,
        allowed: Allowed,
    ) -> None:
        self.queue: WorkQueue[Subject] = WorkQueue()
        self._client = client
        self._clock = clock
        self._apps, self._runs, self._releases = apps.cache, runs.cache, releases.cache
        self._public_url = public_url
        self._allowed = allowed
        self._refused: dict[Subject, str] = {}

    def begin(self) -> None:
        """Look at what has not been told, then at what changes."""
        for run in self._runs.values():
            self.queue.add(Subject(run.metadata.key, is_run=True))
        for release in self._releases.values():
            self.queue.add(Subject(release.metadata.key, is_run=False))
        self._runs.subscribe(lambda key, old, new: self.queue.add(Subject(key, is_run=True)))
        self._releases.subscribe(lambda key, old, new: self.queue.add(Subject(key, is_run=False)))

    async def reconcile(self, subject: Subject) -> float | None:
        """Raises ApiError, Unreachable."""
        thing = self._runs.get(subject.key) if subject.is_run else self._releases.get(subject.key)
        app = self._apps.get(ObjectKey(subject.key.namespace, thing.spec.app)) if thing is not None else None
        if thing is None or app is None:
            self._refused.pop(subject, None)
            return None
        report = run_report(thing, self._public_url) if isinstance(thing, PipelineRun) else release_report(thing, app)
        told = thing.metadata.annotations.get(REPORTED, "")
        if report is None or not report.commit or report.state in (told, self._refused.get(subject)):
            return None
        if not app.spec.source.repository or _is_old(thing.status.finished_at, self._clock.now()):
            return None
        return await self._tell(app, subject, report)

    async def _tell(self, app: App, subject: Subject, report: Report) -> float | None:
        try:
            forge = await connect(self._client, app, self._allowed)
            if forge is None:
                return None
            await forge.report(report)
        except ForgeBusy as error:
            return error.again_seconds
        except (ForgeError, SourceError) as error:
            self._refused[subject] = report.state
            log.warning("report", subject=subject, state=report.state, refused=error)
            return None
        log.info("report", subject=subject, state=report.state)
        await self._remember(subject, report.state)
        return None

    async def _remember(self, subject: Subject, state: str) -> None:
        resource = PIPELINE_RUNS if subject.is_run else RELEASES
        patch = {"metadata": {"annotations": {REPORTED: state}}}
        try:
            await self._client.patch(resource, subject.key.name, patch, namespace=subject.key.namespace)
        except NotFound:
            return


def run_report(run: PipelineRun, public_url: str) -> Report | None:
    """What stands beside a commit for its run."""
    state = _RUNS.get(run.status.phase)
    if state is None:
        return None
    name, namespace = run.metadata.name, run.metadata.namespace
    by = f", pushed by {printable(run.spec.trigger.actor)}" if run.spec.trigger.actor else ""
    text = printable(run.status.message) or f"run {name}: {run.status.phase or 'Queued'}{by}"
    return Report(run.spec.commit, "fairway/build", state, text[:_TEXT_MAX], f"{public_url}/logs/{namespace}/{name}")


def release_report(release: Release, app: App) -> Report | None:
    """What stands beside a commit for one of its Releases; those of other reasons repeat one."""
    state = _RELEASES.get(release.status.phase)
    if state is None or release.spec.reason != "deploy":
        return None
    text = printable(release.status.message) or f"{release.metadata.name}: {release.status.phase}"
    context = f"fairway/{release.spec.environment}"
    return Report(release.spec.commit, context, state, text[:_TEXT_MAX], app.status.url)


def _is_old(finished_at: datetime | None, now: datetime) -> bool:
    """What ended long ago is not told to a forge that is asked for the first time."""
    return finished_at is not None and now - finished_at > _TOLD_WITHIN
