"""The logs of runs as files, `<namespace>/<run>/<step>.log`, masked, and written while the containers run.

A log is a projection of what the containers wrote. It is deterministic, so that after a restart it is read again from
its beginning, and what is already in the file is passed over.
"""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from fairway.delivery.pipelines.bells import Bells
from fairway.delivery.pipelines.masking import Masker
from fairway.delivery.pipelines.names import SCRIPT, SOURCE, UPLOAD, step_name
from fairway.kube.api.jobs import Job
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.pods import ContainerStatus, Pod
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.toolkit import logs

log = logs.get("delivery")
BYTES_MAX = 16 << 20
_CUT = b"\n[the log is cut here: it is longer than 16 MiB]\n"
_AGAIN_SECONDS = 0.5
_ATTEMPTS = 5
SUMMARY = "summary"
"""The file with what was detected and what went wrong with the run as a whole."""


class Logs:
    """The files below one folder; `bells` ring for a run whenever one of its files grows."""

    def __init__(self, root: Path) -> None:
        self.bells: Bells[ObjectKey] = Bells()
        self._root = root

    def path(self, run: ObjectKey, step: str, attempt: int = 1) -> Path:
        """The file of an attempt of a step."""
        suffix = f".{attempt}" if attempt > 1 else ""
        name = step if step == SUMMARY else step_name(step)
        return self._root / run.namespace / run.name / f"{name}{suffix}.log"

    def size_bytes(self, run: ObjectKey) -> int:
        """The size of all files of a run."""
        return sum(path.stat().st_size for path in (self._root / run.namespace / run.name).glob("*.log"))

    def say(self, run: ObjectKey, step: str, lines: Iterable[str]) -> None:
        """Write the whole log of a step that the platform does itself."""
        path = self.path(run, step)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        self.bells.ring(run)

    def append(self, run: ObjectKey, step: str, attempt: int, data: bytes) -> None:
        """Add to a log."""
        path = self.path(run, step, attempt)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("ab") as file:
            file.write(data)
        self.bells.ring(run)

    def forget(self, run: ObjectKey) -> None:
        """Remove the logs of a run that is gone."""
        shutil.rmtree(self._root / run.namespace / run.name, ignore_errors=True)

    def runs(self) -> Iterator[ObjectKey]:
        """The runs that have logs."""
        for path in self._root.glob("*/*"):
            yield ObjectKey(path.parent.name, path.name)


FindPod = Callable[[Job], Pod | None]


class Collector:
    """Reads the containers of build pods into log files, one task for each attempt of a step."""

    def __init__(self, client: ApiClient, files: Logs, find_pod: FindPod, pods: Bells[str]) -> None:
        """`find_pod` knows the newest pod of a Job; `pods` ring with the uid of the Job that a changed pod is of."""
        self._client = client
        self._files = files
        self._find_pod = find_pod
        self._pods = pods
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def collect(
        self, run: ObjectKey, step: str, attempt: int, job: Job, secrets: Callable[[], Awaitable[frozenset[bytes]]]
    ) -> None:
        """Start to read the log of a Job, unless that is being done."""
        uid = job.metadata.uid
        if uid not in self._tasks:
            name = f"log {job.metadata.key}"
            task = asyncio.create_task(self._collect(run, step, attempt, job, secrets), name=name)
            self._tasks[uid] = task

    async def settle(self, job: Job, seconds: float) -> None:
        """Wait until all of a Job's log is in its file, but no longer than that."""
        if task := self._tasks.get(job.metadata.uid):
            await asyncio.wait((task,), timeout=seconds)

    async def stop(self, uids: Iterable[str]) -> None:
        """End the reading of Jobs that are over."""
        tasks = [task for uid in uids if (task := self._tasks.pop(uid, None)) is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End everything."""
        await self.stop(tuple(self._tasks))

    async def _collect(
        self, run: ObjectKey, step: str, attempt: int, job: Job, secrets: Callable[[], Awaitable[frozenset[bytes]]]
    ) -> None:
        try:
            masker = Masker(await secrets())
            writer = _Writer(self._files, run, step, attempt)
            for container in (SOURCE, SCRIPT, UPLOAD):
                pod = await self._started(job, container)
                if pod is None:
                    break
                await self._read(pod, container, masker, writer)
                writer.write(masker.flush())
        except (ApiError, Unreachable, OSError) as error:
            log.warning("log lost", run=run, step=step, error=error)

    async def _started(self, job: Job, container: str) -> Pod | None:
        """The pod once the container has begun; None when it never will."""
        while True:
            rung = self._pods.listen(job.metadata.uid)
            pod = self._find_pod(job)
            if pod is not None:
                status = container_status(pod, container)
                if status is not None and (status.state.running or status.state.terminated):
                    return pod
                if pod.finished or pod.metadata.deletion_timestamp is not None:
                    return None
            await rung

    async def _read(self, pod: Pod, container: str, masker: Masker, writer: "_Writer") -> None:
        """Follow a container's log to its end; a stream that breaks is begun again."""
        metadata = pod.metadata
        for attempt in range(_ATTEMPTS):
            start = writer.mark()
            try:
                pieces = self._client.log(metadata.name, metadata.namespace, container=container, follow=True)
                async for piece in pieces:
                    writer.write(masker.feed(piece))
                return
            except Unreachable:
                if attempt == _ATTEMPTS - 1:
                    raise
                masker.flush()
                writer.back_to(start)
                await asyncio.sleep(_AGAIN_SECONDS)


class _Writer:
    """Appends a stream that may begin again: what the file has already is passed over."""

    def __init__(self, files: Logs, run: ObjectKey, step: str, attempt: int) -> None:
        self._files, self._run, self._step, self._attempt = files, run, step, attempt
        path = files.path(run, step, attempt)
        self._there = path.stat().st_size if path.exists() else 0
        self._position = 0

    def mark(self) -> int:
        return self._position

    def back_to(self, position: int) -> None:
        self._position = position

    def write(self, data: bytes) -> None:
        new = data[max(0, self._there - self._position) :]
        self._position += len(data)
        if not new or self._there >= BYTES_MAX:
            return
        if self._there + len(new) >= BYTES_MAX:
            new = new[: BYTES_MAX - self._there] + _CUT
        self._files.append(self._run, self._step, self._attempt, new)
        self._there += len(new)


def container_status(pod: Pod, name: str) -> ContainerStatus | None:
    """The status of a container, wherever it stands in the pod."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return next((one for one in statuses if one.name == name), None)
