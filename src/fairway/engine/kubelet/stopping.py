"""End a container gracefully: leave rotation, preStop, stop signal, wait, SIGKILL."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine

import msgspec

from fairway.engine.kubelet.interfaces import Runtime
from fairway.engine.kubelet.probes.check import Place, execute, http_get
from fairway.engine.kubelet.reports import Reports
from fairway.engine.kubelet.rotation import Rotation
from fairway.engine.kubelet.runtime.errors import ContainerUnknown
from fairway.engine.kubelet.states import States
from fairway.engine.kubelet.waiting import happens_within
from fairway.kube.api.pods import LifecycleHandler, Pod
from fairway.toolkit.clock import Clock

_AFTER_HOOK_SECONDS_MIN = 2.0
_LOOK_AGAIN_SECONDS = 1.0
_KILL_SECONDS = 10.0


class Grace:
    """When patience ends, on the monotonic clock; it may be cut short while somebody waits."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._until = clock.monotonic() + seconds

    def shorten(self, seconds: float) -> None:
        """Not more than this from now on."""
        self._until = min(self._until, self._clock.monotonic() + seconds)

    def left_seconds(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())


class Stopper:
    """Ends containers, one task for each."""

    def __init__(self, runtime: Runtime, states: States, rotation: Rotation, reports: Reports, clock: Clock) -> None:
        self._runtime = runtime
        self._states = states
        self._rotation = rotation
        self._reports = reports
        self._clock = clock

    async def stop(self, pod: Pod, place: Place, stop_signal: str, grace: Grace, *, drain: bool) -> None:
        """Return when the container has ended.

        With `drain` the container goes on serving until no traffic comes any more; see rotation.py for why.  No grace
        left means SIGKILL at once.  Raises OSError when even that does not end it: the loop tries again.
        """
        ended = self._states.ended(place.id)
        if grace.left_seconds() > 0 and not ended.is_set():
            if drain:
                await self._unless_ended(self._rotation.left(pod, grace.left_seconds() / 2), ended, grace)
            hooked = await self._pre_stop(pod, place, ended, grace)
            if not ended.is_set():
                await self._signal(place.id, signal_number(stop_signal))
            seconds_min = _AFTER_HOOK_SECONDS_MIN if hooked else 0.0
            await self._wait(ended, grace, seconds_min)
        if ended.is_set():
            return
        await self._signal(place.id, signal.SIGKILL)
        if not await happens_within(self._clock, _KILL_SECONDS, ended):
            await self._states.relist()
        if not ended.is_set():
            raise OSError(f"container {place.container.name} ({place.id}) is still alive after SIGKILL")

    async def _pre_stop(self, pod: Pod, place: Place, ended: asyncio.Event, grace: Grace) -> bool:
        """Run the hook within the grace period; whether there was one."""
        lifecycle = place.container.lifecycle
        if lifecycle is None or lifecycle.pre_stop is None or ended.is_set():
            return False
        await self._unless_ended(self._run_pre_stop(pod, place, lifecycle.pre_stop, grace), ended, grace)
        return True

    async def _run_pre_stop(self, pod: Pod, place: Place, hook: LifecycleHandler, grace: Grace) -> None:
        problem = await run_hook(hook, place, self._runtime, self._clock, grace.left_seconds())
        if problem is not None:
            self._reports.warning(pod, "FailedPreStopHook", "PreStopHook failed", container=place.container.name)

    async def _unless_ended(self, work: Coroutine[None, None, None], ended: asyncio.Event, grace: Grace) -> None:
        """Do `work` as long as the container lives and there is grace, which may shrink meanwhile."""
        task = asyncio.create_task(work)
        done = asyncio.Event()
        task.add_done_callback(lambda _: done.set())
        try:
            while not (done.is_set() or ended.is_set() or grace.left_seconds() <= 0):
                await happens_within(self._clock, min(grace.left_seconds(), _LOOK_AGAIN_SECONDS), done, ended)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _wait(self, ended: asyncio.Event, grace: Grace, seconds_min: float) -> None:
        """Wait out the grace period, which may shrink meanwhile."""
        least = Grace(self._clock, seconds_min)
        while not ended.is_set():
            left = max(grace.left_seconds(), least.left_seconds())
            if left <= 0:
                return
            await happens_within(self._clock, min(left, _LOOK_AGAIN_SECONDS), ended)

    async def _signal(self, id: str, number: int) -> None:
        """A container that ended in the same moment is no error."""
        with contextlib.suppress(ContainerUnknown):
            await self._runtime.signal(id, number)


class HookProblem(msgspec.Struct, frozen=True):
    """Why a lifecycle hook failed."""

    message: str


async def run_hook(
    hook: LifecycleHandler, place: Place, runtime: Runtime, clock: Clock, timeout_seconds: float
) -> HookProblem | None:
    """Run a postStart or preStop hook; None when it succeeded."""
    if hook.sleep is not None:
        await clock.sleep(min(float(hook.sleep.seconds), timeout_seconds))
        return None
    if hook.exec is not None:
        result = await execute(hook.exec, place, runtime, timeout_seconds)
    elif hook.http_get is not None:
        result = await http_get(hook.http_get, place, timeout_seconds)
    else:
        return None
    return None if result.ok else HookProblem(result.message)


def signal_number(name: str) -> int:
    """SIGTERM for "", else `SIGQUIT`, `QUIT` or `3`; a name that Linux does not know counts as SIGTERM."""
    if name.isdigit():
        return int(name)
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    return int(getattr(signal, full, signal.SIGTERM)) if name else int(signal.SIGTERM)
