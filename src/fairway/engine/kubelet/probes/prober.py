"""When containers are checked, and how many answers make a verdict.

Source: upstream `pkg/kubelet/prober`. One addition: until a container has been found ready (or started) for the first
time, an http, tcp or gRPC check that failed is repeated after 50 ms, doubling up to a second. These extra looks count
only when they succeed, so thresholds and events are upstream's, but a program that needs 300 ms to listen is in
rotation then and not a whole period later.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal

import msgspec

from fairway.engine.kubelet.probes.result import Result
from fairway.kube.api.pods import Probe
from fairway.toolkit.clock import Clock

Kind = Literal["startup", "readiness", "liveness"]
Check = Callable[[], Awaitable[Result]]
Verdict = Callable[[Kind, bool], None]
Observe = Callable[[Kind, Result], None]

_EXTRA_LOOK_SECONDS = 0.05
_EXTRA_LOOK_SECONDS_MAX = 1.0


class Plan(msgspec.Struct, frozen=True):
    """One probe of one run of a container."""

    kind: Kind
    probe: Probe
    started_at: datetime


class Prober:
    """Runs one probe until cancelled.

    `verdict` hears each change of mind; `observe` hears every answer that counts, for events.
    """

    def __init__(
        self, plan: Plan, check: Check, *, clock: Clock, verdict: Verdict, observe: Observe, known: bool | None = None
    ) -> None:
        self._plan = plan
        self._check = check
        self._clock = clock
        self._verdict = verdict
        self._observe = observe
        self._known = known
        self._was_ok = known is True
        self._last: bool | None = None
        self._run = 0

    async def run(self) -> None:
        """Check every period; a startup probe ends with its first success, a condemned container is not asked again."""
        probe = self._plan.probe
        age_seconds = (self._clock.now() - self._plan.started_at).total_seconds()
        await self._clock.sleep(max(0.0, probe.initial_delay_seconds - max(0.0, age_seconds)))
        while not self._is_over():
            due = self._clock.monotonic() + probe.period_seconds
            self._count(await self._check())
            if self._may_look_again():
                await self._look_again(due)
            if self._is_over():
                return
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))

    def _is_over(self) -> bool:
        match self._plan.kind:
            case "startup":
                return self._known is not None
            case "liveness":
                return self._known is False
            case "readiness":
                return False

    def _count(self, result: Result) -> None:
        """Change the verdict when enough equal answers came one after another."""
        self._observe(self._plan.kind, result)
        self._run = self._run + 1 if result.ok is self._last else 1
        self._last = result.ok
        probe = self._plan.probe
        enough = probe.success_threshold if result.ok else probe.failure_threshold
        if self._run >= enough:
            self._decide(result.ok)

    def _decide(self, ok: bool) -> None:
        """Tell a change; a startup or liveness probe that fails condemns the container even as its first verdict."""
        if ok is self._known:
            return
        self._known = ok
        self._was_ok |= ok
        self._verdict(self._plan.kind, ok)

    def _may_look_again(self) -> bool:
        probe = self._plan.probe
        return (
            self._plan.kind != "liveness" and not self._was_ok and probe.exec is None and probe.success_threshold == 1
        )

    async def _look_again(self, due: float) -> None:
        wait_seconds = _EXTRA_LOOK_SECONDS
        while self._clock.monotonic() + wait_seconds < due:
            await self._clock.sleep(wait_seconds)
            if (await self._check()).ok:
                self._count(Result(True))
                return
            wait_seconds = min(wait_seconds * 2, _EXTRA_LOOK_SECONDS_MAX)
