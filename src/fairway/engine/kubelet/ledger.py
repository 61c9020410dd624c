"""The record of one pod, kept true to what the runtime reports."""

import asyncio
from collections.abc import Set as AbstractSet
from pathlib import Path

import msgspec

from fairway.engine.kubelet import starting
from fairway.engine.kubelet.checks import Checks, Run
from fairway.engine.kubelet.cleanup import discard_container
from fairway.engine.kubelet.container_status import pod_name
from fairway.engine.kubelet.containers import log_path
from fairway.engine.kubelet.ending import ended, lost
from fairway.engine.kubelet.record import ContainerRecord, PodRecord, save
from fairway.engine.kubelet.runtime.model import ContainerState
from fairway.engine.kubelet.snapshot import ContainerSeen, Termination
from fairway.engine.kubelet.tools import Tools
from fairway.kube.api.pods import Container, Pod
from fairway.toolkit import logs

log = logs.get("kubelet")


class Ledger:
    """Every change is on disk before anything is done because of it."""

    def __init__(self, tools: Tools, record: PodRecord, checks: Checks) -> None:
        self._tools = tools
        self._checks = checks
        self._removing: set[asyncio.Task[None]] = set()
        self.record = record

    def put(self, container: ContainerRecord) -> None:
        """Replace or add the newest run of one container."""
        self.save(self.record.with_container(container))

    def save(self, record: PodRecord) -> None:
        """Replace the whole record.  Raises OSError."""
        self.record = record
        save(self._tools.config.pod_dir(record.uid), record)

    async def settle(self) -> None:
        """Wait until the runs that ended are removed from the runtime."""
        await asyncio.gather(*self._removing, return_exceptions=True)

    async def abandon(self) -> None:
        """Give up removals that are under way, as a crash would; `adopt` begins them again."""
        tasks = tuple(self._removing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def adopt(self) -> None:
        """Remove the runs that ended while or before an earlier engine process was killed."""
        for record in self.record.containers:
            if record.termination is not None and self._tools.states.get(record.id) is not None:
                self._discard(record.id)

    def absorb(self, pod: Pod, busy: AbstractSet[str]) -> None:
        """Write down what the runtime saw: runs that began and runs that ended; `busy` are being started or stopped."""
        for record in self.record.containers:
            if record.termination is not None:
                continue
            state = self._tools.states.get(record.id)
            if state is None:
                self._absorb_absence(pod, record, busy)
            elif state.status in ("exited", "failed"):
                self._end(pod, record, self._termination(pod, record, state))
            elif record.started_at is None and state.started_at is not None:
                began = starting.moment(state.started_at)
                self.put(msgspec.structs.replace(record, launched=True, started_at=began))

    def _absorb_absence(self, pod: Pod, record: ContainerRecord, busy: AbstractSet[str]) -> None:
        """Lost if it ever ran; a run that was only intended did not happen."""
        if record.launched:
            self._end(pod, record, lost(record, self._tools.clock.now()))
        elif record.name in busy:
            return
        elif record.previous is not None:
            self.put(_without_intent(record, record.previous))
        else:
            others = tuple(each for each in self.record.containers if each.name != record.name)
            self.save(msgspec.structs.replace(self.record, containers=others))

    def _termination(self, pod: Pod, record: ContainerRecord, state: ContainerState) -> Termination:
        container = containers_of(pod).get(record.name, (None, False))[0]
        message = starting.termination_file(self._tools, self.record.uid, record.name, record.attempt)
        written = Path(log_path(pod, record.name, record.attempt, self._tools.config))
        return ended(record, state, container, message, written)

    def _end(self, pod: Pod, record: ContainerRecord, termination: Termination) -> None:
        self.put(msgspec.structs.replace(record, launched=True, termination=termination))
        self._checks.forget(record.id)
        log.info("ended", pod=pod_name(pod), container=record.name, code=termination.exit_code)
        self._discard(record.id)

    def _discard(self, id: str) -> None:
        task = asyncio.create_task(discard_container(self._tools, id))
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)

    def seen(self, pod: Pod, *, sandbox_alive: bool) -> dict[str, ContainerSeen]:
        """The newest run of each container, for `plan` and `status`."""
        containers = containers_of(pod)
        return {
            record.name: self._seen(
                record,
                containers.get(record.name, (Container(name=record.name), False))[0],
                current=sandbox_alive and record.sandbox == self.record.sandbox,
            )
            for record in self.record.containers
        }

    def _seen(self, record: ContainerRecord, container: Container, *, current: bool) -> ContainerSeen:
        state = self._tools.states.get(record.id)
        running = state is not None and state.status == "running"
        return ContainerSeen(
            name=record.name,
            id=record.id,
            status="exited" if record.termination is not None else "running" if running else "starting",
            attempt=record.attempt,
            image=record.image,
            image_ref=record.image_ref,
            current=current,
            started_at=record.started_at,
            termination=record.termination,
            previous=record.previous,
            backoff=record.backoff,
            started=self._checks.started(container, record.id),
            ready=self._checks.ready(container, record.id),
            failed_probe=self._checks.failed(record.id),
            resources=record.resources,
        )

    def runs(self, pod: Pod) -> list[Run]:
        """The containers that run and can be checked."""
        containers = containers_of(pod)
        return [
            Run(containers[record.name][0], record.id, record.started_at, containers[record.name][1])
            for record in self.record.containers
            if record.termination is None and record.started_at is not None and record.name in containers
        ]


def containers_of(pod: Pod) -> dict[str, tuple[Container, bool]]:
    """Every container of a pod by name, and whether it is an init container."""
    others: tuple[Container, ...] = (*pod.spec.containers, *pod.spec.ephemeral_containers)
    every = {container.name: (container, False) for container in others}
    return every | {container.name: (container, True) for container in pod.spec.init_containers}


def _without_intent(record: ContainerRecord, previous: Termination) -> ContainerRecord:
    return msgspec.structs.replace(
        record, attempt=record.attempt - 1, id=previous.container_id, termination=previous, previous=None
    )
