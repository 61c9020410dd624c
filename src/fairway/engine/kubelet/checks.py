"""The probes of one pod: a task for each, and what they found."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial

import msgspec

from fairway.engine.kubelet.probes import Kind, Prober, Result
from fairway.engine.kubelet.probes.check import Place, check
from fairway.engine.kubelet.probes.prober import Plan
from fairway.engine.kubelet.tools import Tools
from fairway.kube.api.pods import Container, Pod, Probe
from fairway.toolkit import logs

log = logs.get("kubelet")


class Run(msgspec.Struct, frozen=True):
    """One running container."""

    container: Container
    id: str
    started_at: datetime
    init: bool


class Checks:
    """Verdicts by container id and kind of probe; `wake` is called when one changes."""

    def __init__(self, tools: Tools, wake: Callable[[], None]) -> None:
        self._tools = tools
        self._wake = wake
        self._verdicts: dict[tuple[str, Kind], bool] = {}
        self._tasks: dict[tuple[str, Kind], asyncio.Task[None]] = {}

    def adopt(self, id: str, *, started: bool, ready: bool) -> None:
        """Take over what the API says of a container that outlived the engine, so that it stays in rotation."""
        if started:
            self._verdicts[id, "startup"] = True
        if ready:
            self._verdicts[id, "readiness"] = True

    def started(self, container: Container, id: str) -> bool:
        """Whether the startup probe, if there is one, has succeeded."""
        return container.startup_probe is None or self._verdicts.get((id, "startup"), False)

    def ready(self, container: Container, id: str) -> bool:
        """Whether the readiness probe, if there is one, has succeeded."""
        return container.readiness_probe is None or self._verdicts.get((id, "readiness"), False)

    def failed(self, id: str) -> str:
        """The probe that condemned a container, or an empty string."""
        kinds: tuple[Kind, ...] = ("startup", "liveness")
        return next((kind for kind in kinds if self._verdicts.get((id, kind)) is False), "")

    def sync(self, pod: Pod, ip: str, runs: Iterable[Run], *, winding_down: bool) -> None:
        """Have exactly the tasks that these runs need; pods on their way down are only asked whether they are ready."""
        wanted = {
            (run.id, kind): (run, kind, probe)
            for run in runs
            for kind, probe in self._probes(run)
            if not winding_down or kind == "readiness"
        }
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key, (run, kind, probe) in wanted.items():
            if key not in self._tasks:
                task = asyncio.create_task(self._prober(pod, ip, run, kind, probe).run())
                task.add_done_callback(partial(self._ended, key))
                self._tasks[key] = task

    def forget(self, id: str) -> None:
        """A run has ended."""
        for key in [key for key in self._verdicts if key[0] == id]:
            del self._verdicts[key]

    def close(self) -> None:
        """End every task."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _ended(self, key: tuple[str, Kind], task: asyncio.Task[None]) -> None:
        """A prober that broke is logged; the next pass over the pod makes a new one."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("failed", probe=key[1], container=key[0], error=f"{type(error).__name__}: {error}")
        self._tasks.pop(key, None)

    def _probes(self, run: Run) -> list[tuple[Kind, Probe]]:
        container = run.container
        if not self.started(container, run.id):
            return [("startup", container.startup_probe)] if container.startup_probe is not None else []
        found: list[tuple[Kind, Probe]] = []
        if container.readiness_probe is not None:
            found.append(("readiness", container.readiness_probe))
        if container.liveness_probe is not None:
            found.append(("liveness", container.liveness_probe))
        return found

    def _prober(self, pod: Pod, ip: str, run: Run, kind: Kind, probe: Probe) -> Prober:
        place = Place(container=run.container, id=run.id, ip=ip, version=self._tools.config.version)
        return Prober(
            Plan(kind, probe, run.started_at),
            partial(check, probe, place, self._tools.runtime),
            clock=self._tools.clock,
            verdict=partial(self._decided, run.id),
            observe=partial(self._observed, pod, run),
            known=self._verdicts.get((run.id, kind)),
        )

    def _decided(self, id: str, kind: Kind, ok: bool) -> None:
        self._verdicts[id, kind] = ok
        self._wake()

    def _observed(self, pod: Pod, run: Run, kind: Kind, result: Result) -> None:
        name = kind.capitalize()
        say = partial(self._tools.reports.warning, pod, container=run.container.name, init=run.init)
        if not result.ok:
            say("Unhealthy", f"{name} probe failed: {result.message}")
        elif result.warning:
            say("ProbeWarning", f"{name} probe warning: {result.message}")
