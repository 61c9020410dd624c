"""The loop: caches → snapshot → translate → place → render → plan → HAProxy; what it reports is in `reporting.py`."""

from collections.abc import Callable

import msgspec

from fairway.edge import abilities, ports
from fairway.edge import plan as planning
from fairway.edge.ir import Problem
from fairway.edge.metrics import Traffic
from fairway.edge.place import EMPTY, place
from fairway.edge.plan import NoChange, Plan, Reload, RuntimeCommands
from fairway.edge.proxy import CertificateRefused, Proxy, expected
from fairway.edge.render import Options, Rendered, render
from fairway.edge.render.entries import Entries
from fairway.edge.reporting import Reporter
from fairway.edge.served import Served
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import Translation, translate
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.whole import Dirty
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.haproxy import ConfigRefused, HaproxyError

log = logs.get("edge")
_RELOAD_GAP_SECONDS = 1.0  # a burst of changes that need a reload costs one per second, not one each
_VERIFY_SECONDS = 30.0
_REVIVE_PAUSE_SECONDS_MAX = 5.0


class Counters(msgspec.Struct):
    """What happened since the start; `reload_reasons` are in order of time and only the newest are kept."""

    passes: int = 0
    runtime_changes: int = 0
    reloads: int = 0
    healed: int = 0
    revived: int = 0
    refused: int = 0
    reloads_by_reason: dict[str, int] = {}
    reload_reasons: list[tuple[str, ...]] = []

    def numbers(self) -> dict[str, int]:
        """The plain ones by name."""
        names = ("passes", "runtime_changes", "healed", "revived", "refused")
        return {name: getattr(self, name) for name in names}


class Controller:
    """Holds what one pass leaves for the next: the last translation, and what was refused."""

    def __init__(
        self,
        client: ApiClient,
        proxy: Proxy,
        take: Callable[[], Snapshot],
        events: EventRecorder,
        clock: Clock,
        *,
        options: Options,
        addresses: tuple[str, ...],
        traffic: Traffic | None = None,
        served: Served | None = None,
        leads: Callable[[], bool] = lambda: True,
        port_taken: ports.WhyNot = ports.why_not,
    ) -> None:
        self.counters = Counters()
        self.reporter = Reporter(client, events, clock, addresses=addresses, leads=leads)
        self._proxy = proxy
        self._take = take
        self._clock = clock
        self._options = options
        self._traffic = traffic or Traffic()
        self._served = served or Served()
        self._served.begin(proxy)
        self._last = Translation()
        self._entries = Entries()
        self._port_taken = port_taken
        self._ports_refused: tuple[Problem, ...] = ()
        self._refused: dict[str, str] = {}
        self._reloaded_at = -_RELOAD_GAP_SECONDS
        self._verified_at = clock.monotonic()

    async def once(self) -> float:
        """One pass; returns in how many seconds to look again."""
        self.counters.passes += 1
        started = self._clock.monotonic()
        snapshot = self._take()
        wait_seconds = await self._converge(snapshot, started)
        lacking = abilities.lacking(self._last.parts, self._options.version)
        self.reporter.see(snapshot, self._last, (*self._ports_refused, *lacking))
        wait_seconds = wait_seconds or await self._verify()
        return min(wait_seconds, ports.RETRY_SECONDS) if self._ports_refused else wait_seconds

    async def keep_alive(self, dirty: Dirty) -> None:
        """Start HAProxy again as soon as it is gone."""
        pause_seconds, revived_at = 0.0, float("-inf")
        while True:
            await self._proxy.ended()
            started = self._clock.monotonic()
            try:
                if await self._proxy.revive():
                    self.counters.revived += 1
                    log.warning("revived", ms=round((self._clock.monotonic() - started) * 1000, 1))
                    # One that cannot live is not started over and over as fast as that goes.
                    pause_seconds = min(pause_seconds * 2, _REVIVE_PAUSE_SECONDS_MAX) if pause_seconds else 0.01
                    if started - revived_at > _REVIVE_PAUSE_SECONDS_MAX:
                        pause_seconds = 0.0
                    revived_at = started
                    await self._clock.sleep(pause_seconds)
                    continue
            except HaproxyError as error:
                log.error("failed", error=str(error))
            dirty.mark()
            # The pass that this asks for starts a new process; until then there is nothing to wait for.
            while self._proxy.running is None:
                await self._clock.sleep(0.01)

    async def _converge(self, snapshot: Snapshot, started: float) -> float | None:
        """Make it so. Returns in how many seconds to go on when a reload has to wait."""
        translation = translate(snapshot, self._last, refused=self._refused)
        running = self._proxy.running
        translation = self._without_taken_ports(translation, running)
        placement = place(translation.edge, running.placement if running else EMPTY, dynamic=self._proxy.dynamic)
        wanted = self._entries.of(translation.groups.by_host, placement)
        desired = render(translation.edge, placement, self._options, running, wanted)
        step = planning.plan(running, desired)
        wait_seconds = self._reloaded_at + _RELOAD_GAP_SECONDS - started
        if isinstance(step, Reload) and running is not None and wait_seconds > 0:
            await self._apply_what_can_be(running, desired)
            return wait_seconds
        await self._apply(step, running, desired)
        self._last = translation
        self._served.see(translation)
        self._traffic.see(translation.groups.by_host, placement.names)
        self._count(step, started)
        return None

    def _without_taken_ports(self, translation: Translation, running: Rendered | None) -> Translation:
        """One port that another program has would keep everything else from being served."""
        edge, self._ports_refused = ports.usable(translation.edge, running, self._port_taken)
        return msgspec.structs.replace(translation, edge=edge) if self._ports_refused else translation

    async def _apply(self, step: Plan, running: Rendered | None, desired: Rendered) -> None:
        try:
            await self._proxy.apply(step, desired)
        except CertificateRefused as error:
            self.counters.refused += 1
            self._refused[error.pem] = str(error)
            raise
        except ConfigRefused:
            self.counters.refused += 1
            if running is not None:
                await self._apply_what_can_be(running, desired)
            raise

    async def _apply_what_can_be(self, running: Rendered, desired: Rendered) -> None:
        """Servers come and go at once, also while a reload waits or fails."""
        bridge = planning.without_reload(running, desired)
        await self._proxy.apply(planning.plan(running, bridge), bridge)

    def _count(self, step: Plan, started: float) -> None:
        milliseconds = round((self._clock.monotonic() - started) * 1000, 1)
        match step:
            case NoChange():
                return
            case Reload(reasons=reasons):
                self._reloaded_at = self._clock.monotonic()
                self.counters.reloads += 1
                for kind in {" ".join(reason.split()[:2]) for reason in reasons}:
                    self.counters.reloads_by_reason[kind] = self.counters.reloads_by_reason.get(kind, 0) + 1
                self.counters.reload_reasons = [*self.counters.reload_reasons[-99:], reasons]
                log.info("reload", reasons="; ".join(reasons), ms=milliseconds)
            case _:
                self.counters.runtime_changes += len(step.commands)
                log.info("change", commands=len(step.commands), ms=milliseconds)

    async def _verify(self) -> float:
        """Now and then, look whether HAProxy has what it should have; somebody may have used its socket."""
        left_seconds = self._verified_at + _VERIFY_SECONDS - self._clock.monotonic()
        if left_seconds > 0 or self._proxy.running is None:
            return max(left_seconds, 0.0)
        self._verified_at = self._clock.monotonic()
        if await heal(self._proxy):
            self.counters.healed += 1
        return _VERIFY_SECONDS if self._proxy.running else 0.0


async def heal(proxy: Proxy) -> bool:
    """Compare maps, servers and certificates with what they should be, and mend them; whether something differed.

    What cannot be mended while it runs is forgotten, so that a reload follows. Raises HaproxyError.
    """
    running = proxy.running
    if running is None:
        return False
    wanted, seen = expected(running), await proxy.observe()
    if not seen.differs(wanted):
        return False
    step = planning.repair(running, seen)
    log.warning("differs", commands=len(step.commands) if isinstance(step, RuntimeCommands) else "reload")
    await proxy.apply(step, running)
    if (await proxy.observe()).differs(wanted):
        proxy.forget()
    return True
