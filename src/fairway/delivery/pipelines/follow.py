"""A run as lines for a terminal, from its beginning to its end."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from fairway.delivery.kinds.runs import ENDED, STEP_FAILED, PipelineRun, Step
from fairway.delivery.pipelines.logs import SUMMARY, Logs
from fairway.kube.api.meta import ObjectKey

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_OVER = ("Succeeded", "Failed", "Skipped", "Cancelled")
_LOOK_AGAIN_SECONDS = 2.0  # bells may be missed when a run is watched through another process
_LINE_LENGTH_MAX = 4096
_INDENT = "       "


class _Tail(msgspec.Struct):
    """How far a file has been shown."""

    path: Path
    position: int = 0
    rest: bytes = b""

    def lines(self, *, last: bool) -> Iterator[str]:
        """What is new, in whole lines; with `last` also one without an end."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.position)
                data = file.read()
        except FileNotFoundError:
            return
        self.position += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        if last and self.rest:
            whole, self.rest = [*whole, self.rest], b""
        for line in whole:
            yield plain(line.decode("utf-8", "replace"))


class Follower:
    """Tells runs; `find` gives the newest known state of one, `ahead` how many others it waits for."""

    def __init__(
        self, find: Callable[[ObjectKey], PipelineRun | None], ahead: Callable[[PipelineRun], int], logs: Logs
    ) -> None:
        self._find = find
        self._ahead = ahead
        self._logs = logs

    async def follow(self, key: ObjectKey) -> AsyncIterator[str]:
        """Lines until the run has ended; a run that has ended already is told from its files."""
        story = _Story(self._logs, key)
        while True:
            rung = self._logs.bells.listen(key)
            run = self._find(key)
            if run is None:
                yield f"-----> {key.name} is gone"
                return
            for line in story.more(run, self._ahead(run)):
                yield line
            if run.status.phase in ENDED:
                return
            await asyncio.wait((rung,), timeout=_LOOK_AGAIN_SECONDS)


class _Story:
    """What has been told of a run, and what is new."""

    def __init__(self, logs: Logs, key: ObjectKey) -> None:
        self._logs = logs
        self._key = key
        self._summary = _Tail(logs.path(key, SUMMARY))
        self._tails: dict[tuple[str, int], _Tail] = {}
        self._begun: set[tuple[str, int]] = set()
        self._done: set[str] = set()
        self._waits = -1

    def more(self, run: PipelineRun, ahead: int) -> Iterator[str]:
        ended = run.status.phase in ENDED
        if not ended and run.status.phase != "Running" and ahead != self._waits:
            self._waits = ahead
            if ahead:
                yield f"-----> Waiting: {ahead} run{'s are' if ahead > 1 else ' is'} ahead"
        yield from (f"-----> {line}" for line in self._summary.lines(last=ended))
        for step in run.status.steps:
            if step.name in self._done:
                continue
            yield from self._step(step)
            if step.phase not in _OVER:
                break  # one after the other, although steps may run side by side
        if ended:
            yield _end(run)

    def _step(self, step: Step) -> Iterator[str]:
        if step.phase in ("Pending", "Skipped") and not step.attempt:
            if step.phase == "Skipped":
                self._done.add(step.name)
                yield f"-----> {plain(step.name)}: skipped, {plain(step.message)}"
            return
        if (step.name, 1) not in self._begun:
            self._begun.add((step.name, 1))
            yield f"-----> {plain(step.name)}"
        over = step.phase in _OVER
        for attempt in range(1, step.attempt + 1):
            tail = self._tail(step.name, attempt)
            new = list(tail.lines(last=over or attempt < step.attempt))
            if new and attempt > 1 and (step.name, attempt) not in self._begun:
                self._begun.add((step.name, attempt))
                yield f"{_INDENT}attempt {attempt}"
            yield from (f"{_INDENT}{line}".rstrip() for line in new)
        if over:
            self._done.add(step.name)
            if step.phase != "Succeeded":
                allowed = " (allowed)" if step.allowed_to_fail else ""
                yield f"{_INDENT}{step.phase.lower()}{allowed}: {plain(step.message)}"

    def _tail(self, step: str, attempt: int) -> _Tail:
        return self._tails.setdefault((step, attempt), _Tail(self._logs.path(self._key, step, attempt)))


def plain(text: str) -> str:
    """A line without what could command or deceive a terminal; of a line that was redrawn, the last state."""
    text = _ESCAPE.sub("", text.rstrip("\r")).rpartition("\r")[2]
    return _CONTROL.sub("", text)[:_LINE_LENGTH_MAX]


def _end(run: PipelineRun) -> str:
    status = run.status
    if status.phase == "Succeeded":
        told = f"; {plain(status.message)}" if status.message else ""
        return f"-----> Built {status.image}{told}" if status.image else f"-----> Done{told}"
    failed = next((one for one in status.steps if one.phase == "Failed" and not one.allowed_to_fail), None)
    if status.reason == STEP_FAILED and failed is not None:
        return f"-----> Failed: {plain(failed.name)}"  # why stands right above
    reason = f": {plain(status.message)}" if status.message else ""
    return f"-----> {status.phase}{reason}"
