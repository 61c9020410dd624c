"""One pod: compare, decide, act, report; long actions run as tasks and wake the loop when they end."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from fairway.engine.kubelet import resizing, resources, starting, sysctls
from fairway.engine.kubelet.checks import Checks
from fairway.engine.kubelet.cleanup import discard_container, discard_old_logs, discard_pod
from fairway.engine.kubelet.container_status import ID_SCHEME, pod_name
from fairway.engine.kubelet.containers import log_path
from fairway.engine.kubelet.errors import StartRefused
from fairway.engine.kubelet.eviction.usage import Running
from fairway.engine.kubelet.images import Image
from fairway.engine.kubelet.ledger import Ledger, containers_of
from fairway.engine.kubelet.metrics import Target
from fairway.engine.kubelet.plan import PodActions, Start, Stop, plan_pod
from fairway.engine.kubelet.probes.check import Place
from fairway.engine.kubelet.record import PodRecord
from fairway.engine.kubelet.reporter import Reporter
from fairway.engine.kubelet.runtime.model import ContainerSpec, Limits
from fairway.engine.kubelet.runtime.usage import Group
from fairway.engine.kubelet.sandboxes import Sandboxes
from fairway.engine.kubelet.server import LogFile, NoLog
from fairway.engine.kubelet.snapshot import EVICTED, Pending, PodSeen, Trouble, Verdict
from fairway.engine.kubelet.stopping import Grace, run_hook
from fairway.engine.kubelet.streaming import endpoints as streams
from fairway.engine.kubelet.streaming.protocols import Refusal
from fairway.engine.kubelet.tools import Tools
from fairway.kube.api.pods import Container, EphemeralContainer, Pod
from fairway.toolkit import logs

log = logs.get("kubelet")

_SANDBOX = ""
_RETRY_SECONDS = 10.0
_STOP_RETRY_SECONDS = 1.0
_GONE_GRACE_SECONDS = 2.0
_EVICTION_GRACE_SECONDS = 1.0  # for thresholds that allow no delay, as upstream
_HOOK_SECONDS_MAX = 3600.0


class PodKey(NamedTuple):
    """A pod by name and by identity: two pods may have had the same name."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class PodWorker:
    """The work on one pod.  `sync` is never called twice at once; tasks change the ledger in between."""

    def __init__(self, tools: Tools, pod: Pod, record: PodRecord, wake: Callable[[], None]) -> None:
        self._tools = tools
        self._pod = pod
        self._wake = wake
        self._checks = Checks(tools, wake)
        self._ledger = Ledger(tools, record, self._checks)
        self._reporter = Reporter(tools.client, tools.config.node_ip)
        self._sandboxes = Sandboxes(tools)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._committed: set[str] = set()
        self._troubles: dict[str, Trouble] = {}
        self._announced: dict[str, int] = {}
        self._grace: Grace | None = None
        self._fresh_sources = False
        self._resize_pending: Pending | None = None
        self.closed = False

    def adopt(self, *, sandbox_alive: bool) -> None:
        """Go on where an earlier engine process stopped."""
        record = self._ledger.record
        self._ledger.adopt()
        self._sandboxes.alive = sandbox_alive and bool(record.ip)
        statuses = (*self._pod.status.init_container_statuses, *self._pod.status.container_statuses)
        shown = {status.container_id: status for status in statuses}
        for container in record.containers:
            self._tools.states.watch(container.id, self._wake)
            status = shown.get(ID_SCHEME + container.id)
            if status is not None:
                self._checks.adopt(container.id, started=bool(status.started), ready=status.ready)

    def sources_changed(self) -> None:
        """A ConfigMap or Secret that the pod uses is new or different: what waited for it may try again."""
        now = self._tools.clock.now()
        for name, trouble in self._troubles.items():
            if trouble.reason == "CreateContainerConfigError":
                self._troubles[name] = msgspec.structs.replace(trouble, retry_at=now)
        self._fresh_sources = True
        self._sandboxes.retry_at = None
        self._wake()

    def log_file(self, name: str, *, previous: bool) -> LogFile:
        """Where the newest or the previous run of a container logs.  Raises NoLog."""
        pod, record = self._pod.metadata.name, self._ledger.record.container(name)
        if record is None:
            trouble = self._troubles.get(name)
            reason = trouble.reason if trouble is not None else "ContainerCreating"
            raise NoLog(400, f'container "{name}" in pod "{pod}" is waiting to start: {reason}')
        attempt = record.attempt - 1 if previous else record.attempt
        path = Path(log_path(self._pod, name, attempt, self._tools.config))
        if attempt < 0 or not path.exists():
            kind = "previous terminated container" if previous else "log of container"
            raise NoLog(400, f'{kind} "{name}" in pod "{pod}" not found')
        return LogFile(path, lambda: not previous and self._tools.states.is_alive(record.id))

    def place(self, name: str) -> streams.Place:
        """Where the running container `name`, or with an empty name the pod, is.  Raises Refusal."""
        record = self._ledger.record
        if not self._sandboxes.alive:
            raise Refusal(404, f"pod not running: {pod_name(self._pod)}")
        if not name:
            return streams.Place(record.uid, record.sandbox)
        run = record.container(name)
        if run is None or run.termination is not None or not self._tools.states.is_alive(run.id):
            raise Refusal(404, f'container not found ("{name}")')
        container, _ = containers_of(self._pod).get(name, (None, False))
        return streams.Place(record.uid, record.sandbox, run.id, container is not None and container.tty)

    def measured(self) -> list[Target]:
        """The running containers, for their metrics."""
        found = []
        for record in self._ledger.record.containers:
            state = self._tools.states.get(record.id)
            if state is None or state.status != "running" or state.pid is None or record.started_at is None:
                continue
            group = Group(resources.cgroup(self._pod, record.id), state.pid)
            metadata = self._pod.metadata
            place = (metadata.namespace, metadata.name, record.name)
            more = (metadata.uid, record.image, record.sandbox)
            found.append(Target(*place, record.id, group, record.started_at, *more))
        return found

    def images(self) -> tuple[str, ...]:
        """What the containers that were not removed yet were made from."""
        records = self._ledger.record.containers
        return tuple(each.image for each in records if each.termination is None)

    def running(self) -> Running | None:
        """The pod as it uses the machine; None when it is over or on its way."""
        over = self._pod.finished or self._pod.metadata.deletion_timestamp is not None
        if over or self._ledger.record.verdict is not None or not self._sandboxes.alive:
            return None
        return Running(self._pod, tuple(self.measured()))

    def granted(self) -> Pod | None:
        """The pod with what the node granted; None when it is over."""
        return None if self._pod.finished or self._ledger.record.verdict is not None else self._pod

    def evict(self, message: str) -> None:
        """End the pod for good, because the node needs what it uses.  Raises OSError."""
        self._ledger.save(msgspec.structs.replace(self._ledger.record, verdict=Verdict(EVICTED, message)))
        self._tools.reports.warning(self._pod, EVICTED, message)
        log.warning("evicted", pod=pod_name(self._pod), reason=message)
        self._wake()

    def _judge(self) -> None:
        """A pod that this node must not run is over before anything of it is made, as upstream's admission has it."""
        record = self._ledger.record
        if record.sandboxes or record.verdict is not None or self._pod.finished:
            return
        if why := sysctls.forbidden(self._pod):
            self._ledger.save(
                msgspec.structs.replace(record, verdict=Verdict("SysctlForbidden", f"Pod was rejected: {why}"))
            )
            self._tools.reports.warning(self._pod, "SysctlForbidden", why)
            log.warning("rejected", pod=pod_name(self._pod), reason=why)

    async def sync(self, pod: Pod) -> float | None:
        """One pass; the seconds after which to look again.  Raises ApiError, Unreachable, OSError."""
        await self._take(self._grant(self._reporter.newest(pod)))
        self._judge()
        actions = self._advance()
        if self._ledger.record.containers or not self._pod.finished:  # what is over and unknown here stays as it is
            await self._reporter.report(self._pod, self._seen())
        if actions.finished:
            self._checks.close()
            await self._reporter.delete(self._pod)
        return self._next_look(actions)

    async def sync_gone(self) -> None:
        """One pass for a pod that the API no longer has: end it quickly and leave nothing.  Raises OSError."""
        metadata = msgspec.structs.replace(self._pod.metadata, deletion_timestamp=self._tools.clock.now())
        self._pod = msgspec.structs.replace(self._pod, metadata=metadata)
        self._shorten(_GONE_GRACE_SECONDS)
        if not self._advance().finished:
            return
        self._checks.close()
        await self._ledger.settle()
        for container in self._ledger.record.containers:
            await discard_container(self._tools, container.id)
        await discard_pod(self._tools, self._ledger.record)
        self.closed = True

    async def close(self) -> None:
        """Give up what is under way, as a crash would; the next kubelet goes on from the record."""
        self._checks.close()
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._ledger.abandon()

    def _grant(self, pod: Pod) -> Pod:
        """The pod with the resources that the node agrees to; what it agreed to once is written down."""
        record = self._ledger.record
        allowed = resizing.grant(pod, record.granted, self._tools.allocatable, self._tools.neighbours(record.uid))
        self._resize_pending = allowed.pending
        granted = resizing.resources_of(allowed.pod)
        if granted != record.granted:
            if record.granted:
                log.info("resized", pod=pod_name(pod))
            self._ledger.save(msgspec.structs.replace(record, granted=granted))
        return allowed.pod

    async def _take(self, pod: Pod) -> None:
        """Go on with a newer pod; generated volumes follow its labels and sources."""
        before, after = self._pod.metadata, pod.metadata
        relabelled = (before.labels, before.annotations) != (after.labels, after.annotations)
        self._pod = pod
        stale = self._sandboxes.alive and self._tools.volumes.stale_in(pod) == 0
        if (relabelled or self._fresh_sources or stale) and self._sandboxes.alive:
            self._fresh_sources = False
            await self._tools.volumes.refresh(pod)

    def _next_look(self, actions: PodActions) -> float | None:
        """When the plan wants it, or when a token is to be renewed."""
        stale = self._tools.volumes.stale_in(self._pod) if self._sandboxes.alive else None
        deferred = self._resize_pending is not None and self._resize_pending.reason == "Deferred"
        times = (actions.wait_seconds, stale, _RETRY_SECONDS if deferred else None)
        return min((seconds for seconds in times if seconds is not None), default=None)

    def _advance(self) -> PodActions:
        """Take in what happened, decide, begin what is to be done."""
        self._ledger.absorb(self._pod, self._tasks.keys())
        actions = plan_pod(self._pod, self._seen())
        if self._pod.metadata.deletion_timestamp is not None:
            self._shorten(self._deletion_seconds())
        if self._ledger.record.verdict is not None:
            self._shorten(_EVICTION_GRACE_SECONDS)
        self._act(actions)
        runs = self._ledger.runs(self._pod)
        self._checks.sync(self._pod, self._ledger.record.ip, runs, winding_down=actions.winding_down)
        return actions

    def _seen(self) -> PodSeen:
        alive = self._sandboxes.alive
        return PodSeen(
            now=self._tools.clock.now(),
            sandbox=alive,
            sandbox_busy=_SANDBOX in self._tasks,
            sandbox_retry_at=self._sandboxes.retry_at,
            ip=self._ledger.record.ip if alive else "",
            containers=self._ledger.seen(self._pod, sandbox_alive=alive),
            busy=frozenset(self._tasks.keys() - {_SANDBOX}),
            troubles=dict(self._troubles),
            verdict=self._ledger.record.verdict,
            resize_pending=self._resize_pending,
        )

    def _deletion_seconds(self) -> float:
        """What is left of the grace period; times in the API are whole seconds, so up to one more than they say."""
        metadata = self._pod.metadata
        grace = metadata.deletion_grace_period_seconds
        seconds = float(self._pod.spec.termination_grace_period_seconds if grace is None else grace)
        if metadata.deletion_timestamp is None:
            return seconds
        left = (metadata.deletion_timestamp - self._tools.clock.now()).total_seconds()
        return max(0.0, min(seconds, left + 1.0))

    def _shorten(self, seconds: float) -> None:
        if self._grace is None:
            self._grace = Grace(self._tools.clock, seconds)
        self._grace.shorten(seconds)

    def _act(self, actions: PodActions) -> None:
        if actions.winding_down:
            for name in self._tasks.keys() - self._committed - {_SANDBOX}:
                self._tasks[name].cancel()
        if actions.create_sandbox:
            self._spawn(_SANDBOX, self._create_sandbox)
        if actions.remove_sandbox:
            self._spawn(_SANDBOX, self._remove_sandbox)
        for start in actions.start:
            self._spawn(start.name, partial(self._start, start))
        for stop in actions.stop:
            self._committed.add(stop.name)
            self._spawn(stop.name, partial(self._stop, stop))
        for name in actions.resize:
            self._spawn(name, partial(self._resize, name))
        for name, _ in actions.backing_off:
            self._announce(name)

    def _announce(self, name: str) -> None:
        """The BackOff event, once for each wait."""
        record = self._ledger.record.container(name)
        if record is not None and self._announced.get(name) != record.attempt:
            self._announced[name] = record.attempt
            message = f"Back-off restarting failed container {name} in pod {pod_name(self._pod)}"
            self._warn(name, "BackOff", message)

    def _spawn(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._guarded(name, work))
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._done(name))

    def _done(self, name: str) -> None:
        self._tasks.pop(name, None)
        self._committed.discard(name)
        self._wake()

    async def _guarded(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """The one place that catches what a task did not expect: it is shown, logged once, and tried again later."""
        try:
            await work()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            log.error("failed", pod=pod_name(self._pod), container=name or None, error=reason)
            if name == _SANDBOX and not self._sandboxes.alive:
                self._sandboxes.failed(self._pod, reason)
            elif name != _SANDBOX and not self._tools.states.is_alive(self._id(name)):
                self._trouble(name, StartRefused("RunContainerError", reason, _RETRY_SECONDS))
            else:
                await self._tools.clock.sleep(_STOP_RETRY_SECONDS)  # stays busy so long, and is then tried again

    def _id(self, name: str) -> str:
        record = self._ledger.record.container(name)
        return record.id if record is not None else ""

    async def _create_sandbox(self) -> None:
        await self._sandboxes.create(self._pod, self._ledger)

    async def _remove_sandbox(self) -> None:
        await self._sandboxes.remove(self._ledger)

    async def _start(self, start: Start) -> None:
        """Image, preparations, then the runtime; from then on it cannot be given up any more."""
        container, init = containers_of(self._pod)[start.name]
        record = self._ledger.record
        try:
            image = await self._tools.pulls.ensure(self._pod, container, init=init)
        except StartRefused as refused:
            self._refuse(start.name, refused)
            return
        try:
            sandbox = starting.Sandbox(record.sandbox, record.ip)
            spec = await starting.prepare(self._tools, self._pod, container, image, start, sandbox)
            spec = msgspec.structs.replace(spec, pid_target=self._target(container))
        except StartRefused as refused:
            self._trouble(start.name, refused)
            return
        self._troubles.pop(start.name, None)
        self._committed.add(start.name)
        if await self._launch(container, image, start, spec):
            self._wake()
            await self._post_start(container, spec.id)

    def _target(self, container: Container) -> str:
        """The id of the container whose processes an ephemeral one wants to see.  Raises StartRefused."""
        name = container.target_container_name if isinstance(container, EphemeralContainer) else ""
        if not name:
            return ""
        target = self._ledger.record.container(name)
        if target is None or not self._tools.states.is_alive(target.id):
            raise StartRefused("CreateContainerError", f'unable to find target container "{name}"')
        return target.id

    async def _launch(self, container: Container, image: Image, start: Start, spec: ContainerSpec) -> bool:
        """Ask the runtime; whether the program runs."""
        name, former = start.name, self._ledger.record.container(start.name)
        intent = starting.intent(spec, container, image, start)
        self._ledger.put(msgspec.structs.replace(intent, previous=former.termination if former is not None else None))
        self._tools.states.watch(spec.id, self._wake)
        starting.make_folders(spec)
        discard_old_logs(self._tools, self._ledger.record, name, start.attempt)
        state = await self._tools.runtime.start(spec)
        self._tools.states.put(state)
        self._ledger.absorb(self._pod, self._tasks.keys())
        self._say(name, "Created", f"Created container: {name}")
        if state.status == "failed":
            self._warn(name, "Failed", f"Error: {state.message}")
            return False
        self._say(name, "Started", f"Started container {name}")
        log.info("started", pod=pod_name(self._pod), container=name, attempt=start.attempt)
        return True

    def _refuse(self, name: str, refused: StartRefused) -> None:
        retry_at = self._tools.clock.now() + timedelta(seconds=refused.retry_seconds)
        self._troubles[name] = Trouble(refused.reason, refused.message, retry_at)

    def _trouble(self, name: str, refused: StartRefused) -> None:
        self._refuse(name, refused)
        self._warn(name, "Failed", f"Error: {refused.message}")

    async def _post_start(self, container: Container, id: str) -> None:
        """Run the hook; a container whose hook fails is stopped and restarts by its policy."""
        if container.lifecycle is None or container.lifecycle.post_start is None:
            return
        place, tools = self._place(container, id), self._tools
        problem = await run_hook(container.lifecycle.post_start, place, tools.runtime, tools.clock, _HOOK_SECONDS_MAX)
        if problem is None:
            return
        self._warn(container.name, "FailedPostStartHook", "PostStartHook failed")
        self._say(container.name, "Killing", f"FailedPostStartHook: {problem.message}")
        grace = Grace(tools.clock, self._pod.spec.termination_grace_period_seconds)
        await tools.stopper.stop(self._pod, place, "", grace, drain=False)

    async def _stop(self, stop: Stop) -> None:
        record = self._ledger.record.container(stop.name)
        if record is None or record.termination is not None:
            return
        container, init = containers_of(self._pod)[stop.name]
        self._say(stop.name, "Killing", stop.message)
        deleted = self._pod.metadata.deletion_timestamp is not None
        grace = self._grace if self._grace is not None else self._grace_of(container, stop)
        place = self._place(container, record.id)
        await self._tools.stopper.stop(self._pod, place, record.stop_signal, grace, drain=deleted and not init)

    async def _resize(self, name: str) -> None:
        """Change the limits of a running container; one that the kernel refuses is tried again."""
        record = self._ledger.record.container(name)
        if record is None or record.termination is not None:
            return
        container, _ = containers_of(self._pod)[name]
        own, shared = resources.limits(container), resources.pod_limits(self._pod)
        await self._tools.runtime.resize(record.id, _changed(own), _changed(shared))
        self._ledger.put(msgspec.structs.replace(record, resources=container.resources))

    def _grace_of(self, container: Container, stop: Stop) -> Grace:
        probe = container.liveness_probe if stop.probe == "liveness" else container.startup_probe
        own = probe.termination_grace_period_seconds if stop.probe and probe is not None else None
        seconds = self._pod.spec.termination_grace_period_seconds if own is None else own
        return Grace(self._tools.clock, seconds)

    def _place(self, container: Container, id: str) -> Place:
        return Place(container=container, id=id, ip=self._ledger.record.ip, version=self._tools.config.version)

    def _say(self, name: str, reason: str, message: str) -> None:
        _, init = containers_of(self._pod)[name]
        self._tools.reports.normal(self._pod, reason, message, container=name, init=init)

    def _warn(self, name: str, reason: str, message: str) -> None:
        _, init = containers_of(self._pod)[name]
        self._tools.reports.warning(self._pod, reason, message, container=name, init=init)


def _changed(limits: resources.Limits) -> Limits:
    return Limits(memory_bytes=limits.memory_bytes, cpu_quota_us=limits.cpu_quota_us, cpu_shares=limits.cpu_shares)
