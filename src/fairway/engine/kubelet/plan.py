"""One pod and what is seen of it -> what to do next.

The decisions are those of the kubelet's `computePodActions`: sandbox, init containers one after another, sidecars,
containers, restarts with back-off, and the way down in reverse.
"""

from datetime import datetime

import msgspec

from fairway.engine.kubelet import backoff
from fairway.engine.kubelet.resizing import needs_restart
from fairway.engine.kubelet.snapshot import Backoff, ContainerSeen, PodSeen
from fairway.kube.api.pods import Container, EphemeralContainer, Pod


class Start(msgspec.Struct, frozen=True):
    """Run a container; `attempt` counts its runs from zero, `backoff` is the delay to remember for its next crash."""

    name: str
    attempt: int = 0
    backoff: Backoff = Backoff()


class Stop(msgspec.Struct, frozen=True):
    """End a container; `message` is the text of its Killing event, `probe` the probe it failed."""

    name: str
    message: str
    probe: str = ""


class PodActions(msgspec.Struct, frozen=True, kw_only=True):
    """What to do now.

    `resize` names containers whose limits change while they run.
    `backing_off` names containers in CrashLoopBackOff with the seconds they wait; `wait_seconds` is when to look again.
    `winding_down` asks to give up starts that are under way; `finished` says that nothing of a deleted pod is left.
    """

    create_sandbox: bool = False
    remove_sandbox: bool = False
    start: tuple[Start, ...] = ()
    stop: tuple[Stop, ...] = ()
    resize: tuple[str, ...] = ()
    backing_off: tuple[tuple[str, float], ...] = ()
    wait_seconds: float | None = None
    winding_down: bool = False
    finished: bool = False


def plan_pod(pod: Pod, seen: PodSeen) -> PodActions:
    """The next actions; an empty answer means that everything is as it should be or under way."""
    if pod.metadata.deletion_timestamp is not None or is_done(pod, seen):
        return _wind_down(pod, seen)
    actions = _run(pod, seen) if seen.sandbox else _sandbox(pod, seen)
    return _with_deadline(actions, pod, seen)


def is_done(pod: Pod, seen: PodSeen) -> bool:
    """Whether a pod has reached its end without being deleted: completed, failed, or over its deadline."""
    if pod.finished or is_expired(pod, seen.now) or seen.verdict is not None:
        return True
    if pod.spec.restart_policy == "Always" or not pod.spec.containers:
        return False
    if any(_is_fatal(pod, container, seen) for container in pod.spec.init_containers):
        return True
    return all(_ended_for_good(pod, seen.containers.get(container.name)) for container in pod.spec.containers)


def is_expired(pod: Pod, now: datetime) -> bool:
    """Whether activeDeadlineSeconds is over."""
    seconds = _deadline_seconds(pod, now)
    return seconds is not None and seconds <= 0


def is_sidecar(container: Container) -> bool:
    """An init container that keeps running beside the others."""
    return container.restart_policy == "Always"


def is_initialized(pod: Pod, seen: PodSeen) -> bool:
    """Whether the init containers have done their work in the present sandbox."""
    runs = (seen.containers.get(container.name) for container in pod.spec.containers)
    if any(run is not None and run.current for run in runs):
        return True
    return all(_is_past(container, seen.containers.get(container.name)) for container in pod.spec.init_containers)


def should_restart(policy: str, run: ContainerSeen) -> bool:
    """Whether a restart policy wants another run after this one."""
    if policy == "OnFailure":
        return run.termination is None or run.termination.exit_code != 0
    return policy == "Always"


def policy_of(pod: Pod, container: Container, *, init: bool) -> str:
    """The restart policy of one container: init containers of an `Always` pod restart only when they fail."""
    if init:
        return "Always" if is_sidecar(container) else _INIT_POLICY[pod.spec.restart_policy]
    return pod.spec.restart_policy


_INIT_POLICY = {"Always": "OnFailure", "OnFailure": "OnFailure", "Never": "Never"}


def _is_past(container: Container, run: ContainerSeen | None) -> bool:
    """Whether the containers after this init container may start."""
    if run is None or not run.current:
        return False
    if is_sidecar(container):
        return run.status == "running" and run.started
    return run.status == "exited" and run.termination is not None and run.termination.exit_code == 0


def _is_fatal(pod: Pod, container: Container, seen: PodSeen) -> bool:
    """An init container that failed in a pod that never restarts."""
    run = seen.containers.get(container.name)
    if is_sidecar(container) or run is None or run.status != "exited" or run.termination is None:
        return False
    return pod.spec.restart_policy == "Never" and run.termination.exit_code != 0


def _ended_for_good(pod: Pod, run: ContainerSeen | None) -> bool:
    return run is not None and run.status == "exited" and not should_restart(pod.spec.restart_policy, run)


def _deadline_seconds(pod: Pod, now: datetime) -> float | None:
    if pod.spec.active_deadline_seconds is None or pod.status.start_time is None:
        return None
    return pod.spec.active_deadline_seconds - (now - pod.status.start_time).total_seconds()


def _with_deadline(actions: PodActions, pod: Pod, seen: PodSeen) -> PodActions:
    seconds = _deadline_seconds(pod, seen.now)
    if seconds is None:
        return actions
    return msgspec.structs.replace(actions, wait_seconds=_soonest(actions.wait_seconds, seconds))


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)


def _wind_down(pod: Pod, seen: PodSeen) -> PodActions:
    """Containers first, sidecars after them in reverse order, the sandbox last."""
    alive = {run.name for run in seen.running()} | seen.busy
    if alive:
        return PodActions(stop=_stops(pod, seen, alive), winding_down=True)
    if seen.sandbox_busy:
        return PodActions(winding_down=True)
    if seen.sandbox:
        return PodActions(remove_sandbox=True, winding_down=True)
    return PodActions(winding_down=True, finished=pod.metadata.deletion_timestamp is not None)


def _stops(pod: Pod, seen: PodSeen, alive: set[str]) -> tuple[Stop, ...]:
    sidecars = [container.name for container in pod.spec.init_containers if is_sidecar(container)]
    others = sorted(alive - set(sidecars))
    names = others or [name for name in reversed(sidecars) if name in alive][:1]
    runs = {run.name for run in seen.running() if run.status == "running"}
    return tuple(Stop(name, f"Stopping container {name}") for name in names if name in runs - seen.busy)


def _sandbox(pod: Pod, seen: PodSeen) -> PodActions:
    """Without a sandbox nothing can run: clear what is left of the old one, then make a new one."""
    if seen.sandbox_busy or seen.busy:
        return PodActions()
    stale = tuple(Stop(run.name, f"Stopping container {run.name}") for run in seen.running())
    if stale:
        return PodActions(stop=stale)
    retry_at = seen.sandbox_retry_at
    if retry_at is not None and (seconds := backoff.left_seconds(retry_at, seen.now)) > 0:
        return PodActions(wait_seconds=seconds)
    return PodActions(create_sandbox=True)


class _Decisions:
    """What the walk over the containers of one pod gathers."""

    def __init__(self, pod: Pod, seen: PodSeen) -> None:
        self.pod = pod
        self.seen = seen
        self.starts: list[Start] = []
        self.stops: list[Stop] = []
        self.resizes: list[str] = []
        self.backing_off: list[tuple[str, float]] = []
        self.waits: list[float] = []

    def consider(self, container: Container, *, init: bool) -> None:
        """Start, restart, stop or leave one container."""
        name = container.name
        run = self.seen.containers.get(name)
        if name in self.seen.busy or (run is not None and run.status == "starting"):
            return
        if run is not None and run.status == "running":
            self._check(container, run)
        elif run is None or self._wants_start(container, run, init=init):
            self._start(container, run)

    def consider_once(self, container: EphemeralContainer) -> None:
        """Start an ephemeral container that never ran."""
        if container.name not in self.seen.containers and container.name not in self.seen.busy:
            self._start(container, None)

    def _check(self, container: Container, run: ContainerSeen) -> None:
        if run.failed_probe:
            message = f"Container {run.name} failed {run.failed_probe} probe, will be restarted"
            self.stops.append(Stop(run.name, message, run.failed_probe))
        elif run.image != container.image:
            self.stops.append(Stop(run.name, f"Container {run.name} definition changed, will be restarted"))
        elif _must_restart(container, run):
            self.stops.append(Stop(run.name, f"Container {run.name} resize requires restart"))
        elif run.resources is not None and run.resources != container.resources:
            self.resizes.append(run.name)

    def _wants_start(self, container: Container, run: ContainerSeen, *, init: bool) -> bool:
        if run.image != container.image or _must_restart(container, run) or (init and not run.current):
            return True
        return should_restart(policy_of(self.pod, container, init=init), run)

    def _start(self, container: Container, run: ContainerSeen | None) -> None:
        now = self.seen.now
        trouble = self.seen.troubles.get(container.name)
        if trouble is not None and (seconds := backoff.left_seconds(trouble.retry_at, now)) > 0:
            self.waits.append(seconds)
        elif run is None:
            self.starts.append(Start(container.name))
        elif run.image == container.image and (seconds := backoff.remaining_seconds(run, now)) > 0:
            self.waits.append(seconds)
            self.backing_off.append((container.name, run.backoff.seconds))
        else:
            finished = run.termination.finished_at if run.termination else None
            following = backoff.following(run.backoff, finished, now) if run.current else run.backoff
            self.starts.append(Start(container.name, run.attempt + 1, following))

    def actions(self) -> PodActions:
        return PodActions(
            start=tuple(self.starts),
            stop=tuple(self.stops),
            resize=tuple(self.resizes),
            backing_off=tuple(self.backing_off),
            wait_seconds=_soonest(*self.waits),
        )


def _must_restart(container: Container, run: ContainerSeen) -> bool:
    return run.resources is not None and needs_restart(container, run.resources)


def _run(pod: Pod, seen: PodSeen) -> PodActions:
    decisions = _Decisions(pod, seen)
    for ephemeral in pod.spec.ephemeral_containers:
        decisions.consider_once(ephemeral)
    initialized = is_initialized(pod, seen)
    for container in pod.spec.init_containers:
        if is_sidecar(container) or not initialized:
            if not _is_past(container, seen.containers.get(container.name)) or is_sidecar(container):
                decisions.consider(container, init=True)
            if not initialized and not _is_past(container, seen.containers.get(container.name)):
                return decisions.actions()
    for container in pod.spec.containers:
        decisions.consider(container, init=False)
    return decisions.actions()
