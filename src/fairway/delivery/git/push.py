"""One push: checked, handed to `git receive-pack`, and told about while its commit goes live."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from fairway.delivery.git import body, packets, push_rules, refs
from fairway.delivery.git.errors import FULL, GitFailed, TookTooLong, is_full, printable
from fairway.delivery.git.limits import PUSH_FLAG
from fairway.delivery.git.packets import Command, Malformed
from fairway.delivery.git.process import Child, Git
from fairway.delivery.git.relay import Relay
from fairway.delivery.git.turns import Turns
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.http_incoming import BodyLost
from fairway.toolkit.http_messages import Request

Pushed = Callable[[ObjectKey, str, str, str], AsyncIterator[str]]
"""(App, branch, commit, user) → lines about what becomes of the commit, until it has become something."""

log = logs.get("delivery")

_COMMAND_BYTES_MAX = 2 << 20  # all that a repository may have, made and deleted, is a third of it
_STATUS_BYTES_MAX = 8 << 20
_LINE_CHARS_MAX = 2000
_DISCARDED_BYTES_MAX = 4 << 30
_NO_SPACE = b"No space left on device"
_UNDONE = "nothing of this push was done"


class Target(msgspec.Struct, frozen=True):
    """Where a push goes, and who pushes."""

    key: ObjectKey
    repository: Path
    branch: str
    """The branch that is deployed."""
    username: str
    """The person who pushes, or the account when nobody stands behind it."""


class Push:
    """`run` does it, in a task of its own: once git has everything, nothing depends on the client any more."""

    def __init__(self, git: Git, turns: Turns, target: Target, request: Request, pushed: Pushed) -> None:
        self._git = git
        self._turns = turns
        self._target = target
        self._body = body.pieces(request, git.limits)
        self._pushed = pushed
        self._commands: tuple[Command, ...] = ()
        self._capabilities: frozenset[str] = frozenset()
        self._received_bytes = 0
        self._endless = False
        """Whether the list of refs had no end that is worth waiting for."""
        self._deaf = False
        """Whether what git says is of no interest any more."""
        self._full = False
        """Whether git found no room."""
        self.received = asyncio.Event()
        """Set once the client has been heard to its end, so that it can be answered."""
        self.relay = Relay(b"")
        self.problem = ""
        """What is wrong with the request itself, for an answer instead of the relay."""
        self.was_slow = False
        """Whether it is that the client took too long."""

    async def run(self) -> None:
        """Raises nothing that a client could cause."""
        try:
            await self._run()
        except BodyLost as error:
            log.info("lost a push", app=self._target.key, error=error)
        except (Malformed, body.BodyRefused) as error:
            self.problem, self.was_slow = str(error), isinstance(error, body.TooSlow)
            log.info("refused a push", app=self._target.key, error=error)
        finally:
            self.relay.end()
            self.received.set()

    async def _run(self) -> None:
        first = await self._read_commands()
        if not self._commands:
            return  # a client's way to find out whether it may push: nothing follows
        if "side-band-64k" in self._capabilities:
            self.relay.keepalive = packets.KEEPALIVE
        if problems := await self._problems():
            await self._refuse(problems)
        elif good := await self._receive(first):
            log.info("received", app=self._target.key, by=self._target.username, refs=len(good))
            await self._tell(good)
        if self.relay.keepalive:
            self.relay.put(packets.FLUSH)

    async def _read_commands(self) -> bytes:
        """Everything up to the first flush and what came with it, as it was sent."""
        splitter, found, raw = packets.Packets(), [], bytearray()
        async for piece in self._body:
            raw += piece
            for payload in splitter.until_flush(piece):
                one, words = packets.command(payload)
                self._capabilities |= words
                found += [one] if one is not None else []
            if splitter.flushed:
                self._commands = tuple(found)
                return bytes(raw)
            if len(raw) > _COMMAND_BYTES_MAX:
                self._commands, self._endless = tuple(found), True
                return b""
        raise Malformed("the push ends before its list of refs does")

    async def _problems(self) -> dict[str, str]:
        """By ref, why it is refused."""
        limit = self._git.limits.refs_max
        if self._endless:
            text = f"the push names far more branches and tags than a repository may have; the limit is {limit}"
            return dict.fromkeys(self._refs, f"{text}: push fewer")
        existing = await asyncio.to_thread(refs.all_names, self._target.repository)
        return push_rules.problems(self._commands, existing, self._target.branch, limit)

    async def _refuse(self, problems: dict[str, str]) -> None:
        """The client sends all of its push before it listens, so it is heard first."""
        self._say(push_rules.lines(problems))
        self.relay.put(packets.report(self._commands, problems, self._capabilities))
        await self._discard()

    async def _discard(self) -> None:
        left = _DISCARDED_BYTES_MAX
        async for piece in self._body:
            left -= len(piece)
            if left < 0:
                raise body.BodyRefused("the push is far too large")

    async def _receive(self, first: bytes) -> frozenset[str]:
        """Run git; returns the refs that it changed."""
        limits = self._git.limits
        told = {"core.hooksPath": "hooks"}
        environment = {"FAIRWAY_BLOB_BYTES_MAX": str(limits.blob_bytes_max)}
        seconds = limits.transfer_timeout_seconds
        try:
            async with (
                self._turns.process(self._target.key),
                self._git.start(
                    ("receive-pack", "--stateless-rpc", "."),
                    self._target.repository,
                    configuration=told,
                    environment=environment,
                    timeout_seconds=seconds,
                    patient=True,
                ) as child,
            ):
                return await self._converse(child, first)
        except (GitFailed, OSError) as error:
            log.warning("could not take a push", app=self._target.key, error=error)
            await self._fail(self._why(error))
        return frozenset()

    def _why(self, error: GitFailed | OSError) -> str:
        """What the person who pushes is told."""
        if self._full or (isinstance(error, OSError) and is_full(error)):
            return f"{FULL}; {_UNDONE}"
        if isinstance(error, TookTooLong):
            return f"{error}, which is as long as a push may take; {_UNDONE}"
        return f"the push could not be stored; {_UNDONE}"

    async def _converse(self, child: Child, first: bytes) -> frozenset[str]:
        listening = asyncio.create_task(self._listen(child))
        try:
            if not await self._feed(child, first):
                self._deaf = True
                await child.kill()
                size = f"{self._git.limits.push_bytes_max / (1 << 20):g} MiB"
                limit = f"the push is larger than {size}, the limit that {PUSH_FLAG} sets"
                await self._fail(f"{limit}; keep large files out of the repository")
                return frozenset()
            child.stdin.close()
            self.received.set()
            good = await listening
            if self._full and not good:
                self._say((f"error: {FULL}",))
            await child.end()
            return good or await asyncio.to_thread(self._moved)
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _feed(self, child: Child, first: bytes) -> bool:
        """Give git the push; False when it is too large. A git that has heard enough leaves the rest to nobody."""
        self._received_bytes = len(first)
        listens = await child.write(first)
        async for piece in self._body:
            self._received_bytes += len(piece)
            if self._received_bytes > self._git.limits.push_bytes_max:
                return False
            listens = listens and await child.write(piece)
        return True

    async def _listen(self, child: Child) -> frozenset[str]:
        """Pass on what git says, but for its last word: more may come after it."""
        splitter, status = packets.Packets(), bytearray()
        async for data in child.pieces():
            if self._deaf:
                continue
            if not self.relay.keepalive:  # nothing but the report comes
                self.relay.put(data)
                status += data
                continue
            self._full = self._full or _NO_SPACE in data
            for payload in filter(None, splitter.feed(data)):
                if payload[:1] == bytes((packets.DATA,)):
                    status += payload[1:]
                elif self.relay.full:
                    continue  # progress that nobody reads
                self.relay.put(packets.packet(payload))
            if len(status) > _STATUS_BYTES_MAX:
                raise GitFailed("git receive-pack reports without end")
        return packets.succeeded(bytes(status))

    async def _fail(self, text: str) -> None:
        self._say((f"error: {text}",))
        self.relay.put(packets.report(self._commands, dict.fromkeys(self._refs, text), self._capabilities))
        with suppress(body.BodyRefused):
            await self._discard()

    def _moved(self) -> frozenset[str]:
        """The refs that are as the push wants them: for clients that ask for no report."""
        if self._capabilities & {"report-status", "report-status-v2"}:
            return frozenset()
        there = {one.ref: refs.read(self._target.repository, one.ref) or "" for one in self._commands}
        return frozenset(one.ref for one in self._commands if there[one.ref] == ("" if one.deletes else one.new))

    @property
    def _refs(self) -> Sequence[str]:
        return [one.ref for one in self._commands]

    async def _tell(self, good: frozenset[str]) -> None:
        """Follow what becomes of the deployed branch; say of others that nothing does."""
        target = self._target
        ref = f"refs/heads/{target.branch}"
        moved = next((one for one in self._commands if one.ref == ref and ref in good and not one.deletes), None)
        if moved is None:
            self._say((f'-----> Stored. {target.key.name} deploys the branch "{target.branch}".',))
            return
        try:
            async for line in self._pushed(target.key, target.branch, moved.new, target.username):
                self._say((line,))
                await self.relay.room()
        except (ApiError, Unreachable, OSError) as error:
            log.warning("could not follow a push", app=target.key, error=error)
            self._say(("The push is stored and goes on; its progress cannot be shown now.",))

    def _say(self, lines: Sequence[str]) -> None:
        if self.relay.keepalive:
            for line in lines:
                self.relay.put(packets.progress(printable_line(line)))


def printable_line(line: str) -> str:
    """A line as a terminal may have it: indentation stays, control characters do not."""
    indent = len(line) - len(line.lstrip(" "))
    return " " * min(indent, 40) + printable(line)[:_LINE_CHARS_MAX]
