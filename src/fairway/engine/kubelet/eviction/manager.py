"""The loop: look at the machine every ten seconds, make room, and end a pod where that is not enough."""

from collections.abc import Awaitable, Callable

from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.eviction import plan
from fairway.engine.kubelet.eviction.images import ImageCollector
from fairway.engine.kubelet.eviction.plan import Eviction, Kind, Met
from fairway.engine.kubelet.eviction.snapshot import PodUsage, Signals
from fairway.engine.kubelet.machine import Pressure
from fairway.engine.kubelet.reports import Reports
from fairway.kube.api.meta import ObjectReference
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("kubelet")
_TRANSITION_SECONDS = 300.0  # how long a pressure is shown after it was last felt
_HIGH_SHARE, _LOW_SHARE = 0.85, 0.80  # image garbage collection begins above the first and aims at the second
_COLLECT_SECONDS = 300.0
_NAMES = {"memory": "memory", "disk": "ephemeral-storage", "pids": "pids"}


class EvictionManager:
    """Looks at the machine and its pods; `usages` measures pods (all, or those with disk limits), `evict` ends one."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        reports: Reports,
        images: ImageCollector,
        *,
        signals: Callable[[], Signals],
        usages: Callable[[bool], Awaitable[tuple[PodUsage, ...]]],
        evict: Callable[[Eviction], Awaitable[None]],
        changed: Callable[[], None],
    ) -> None:
        self._config = config
        self._clock = clock
        self._reports = reports
        self._images = images
        self._signals = signals
        self._usages = usages
        self._evict = evict
        self._changed = changed
        self._felt: dict[Kind, float] = {}
        self._collected_at: float | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except OSError as error:
                log.error("failed", what="eviction", error=error)
            await self._clock.sleep(self._config.eviction_period_seconds)

    def pressure(self) -> Pressure:
        """What the node is short of, or was a moment ago."""
        now = self._clock.monotonic()
        short = {kind for kind, at in self._felt.items() if now - at < _TRANSITION_SECONDS}
        return Pressure(memory="memory" in short, disk="disk" in short, pids="pids" in short)

    async def look(self) -> None:
        """One look at everything.  Raises OSError."""
        await self._collect_images()
        limited = [found for each in await self._usages(False) if (found := plan.over_limit(each)) is not None]
        for eviction in limited:
            await self._evict(eviction)
        short = await self._short()
        if short is None or limited:
            return
        chosen = plan.victim(short, await self._usages(True))
        if chosen is None:
            log.warning("found nobody to evict", signal=short.signal)
            return
        await self._evict(chosen)

    async def _short(self) -> Met | None:
        """The most urgent threshold that is met, after an attempt to make room without ending a pod."""
        found = self._met()
        if found is not None and found.kind == "disk":
            await self._images.free(found.threshold - found.available)
            found = self._met()
        return found

    def _met(self) -> Met | None:
        before = self.pressure()
        found = plan.met(self._config.eviction_hard, self._signals())
        for each in found:
            if each.kind not in self._felt or not getattr(before, each.kind):
                message = f"Attempting to reclaim {_NAMES[each.kind]}"
                self._reports.emit(self._node(), "Warning", "EvictionThresholdMet", message)
                log.warning("short", signal=each.signal, available=each.available, threshold=each.threshold)
            self._felt[each.kind] = self._clock.monotonic()
        if self.pressure() != before:
            self._changed()
        return found[0] if found else None

    async def _collect_images(self) -> None:
        """Upstream's image garbage collection, every five minutes."""
        now = self._clock.monotonic()
        if self._collected_at is not None and now - self._collected_at < _COLLECT_SECONDS:
            return
        self._collected_at = now
        await self._images.look()  # notes who uses what
        disk = self._signals().disk
        used = disk.capacity - disk.available
        if not disk.capacity or used < disk.capacity * _HIGH_SHARE:
            return
        wanted = used - int(disk.capacity * _LOW_SHARE)
        freed = await self._images.free(wanted)
        if freed.bytes < wanted:
            message = (
                f"Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, "
                f"but only found {freed.bytes} bytes eligible to free."
            )
            self._reports.emit(self._node(), "Warning", "FreeDiskSpaceFailed", message)

    def _node(self) -> ObjectReference:
        return ObjectReference(kind="Node", name=self._config.node_name, uid=self._config.node_name)
