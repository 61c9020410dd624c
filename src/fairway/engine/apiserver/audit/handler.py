"""The audit around the whole chain of a request."""

from collections.abc import Awaitable, Callable

import msgspec

from fairway.engine.apiserver.audit.audit import Audit, Entry
from fairway.engine.apiserver.authentication import ANONYMOUS, User
from fairway.engine.apiserver.authorization import Attributes, Decision
from fairway.engine.apiserver.errors import ApiError
from fairway.toolkit.http_messages import Handler, Reply, Request, Sink, Stream


class Users(msgspec.Struct, frozen=True):
    """Who sends a request, and as whom it acts. Both raise ApiError."""

    sender: Callable[[Request], User]
    user: Callable[[Request], User]


class Audited:
    """A handler that tells the audit about every request and its answer."""

    def __init__(
        self,
        handler: Handler,
        audit: Audit,
        users: Users,
        attributes_of: Callable[[Request, User], Attributes],
        decide: Callable[[Attributes], Decision],
    ) -> None:
        self._handler = handler
        self._audit = audit
        self._users = users
        self._attributes_of = attributes_of
        self._decide = decide

    def handle(self, request: Request) -> Reply | Awaitable[Reply]:
        """The handler of the HTTP server."""
        sender, user = self._identify(request)
        attributes = self._attributes_of(request, user)
        entry = self._audit.begin(request, attributes, sender)
        if entry is None:
            return self._handler(request)
        decision = self._decide(attributes)
        entry.decided(allowed=bool(decision.allowed), reason=decision.reason)
        reply = self._handler(request)
        return self._later(entry, reply) if isinstance(reply, Awaitable) else _ended(entry, reply)

    async def _later(self, entry: Entry, reply: Awaitable[Reply]) -> Reply:
        return _ended(entry, await reply)

    def _identify(self, request: Request) -> tuple[User, User]:
        """Nobody, when the proof is wrong: the chain itself will refuse the request."""
        try:
            sender = self._users.sender(request)
        except ApiError:
            return ANONYMOUS, ANONYMOUS
        try:
            return sender, self._users.user(request)
        except ApiError:
            return sender, sender


def _ended(entry: Entry, reply: Reply) -> Reply:
    """A stream is complete when it has been written."""
    entry.answered(reply)
    if not isinstance(reply, Stream):
        return reply
    run = reply.run

    async def watched(sink: Sink) -> None:
        try:
            await run(sink)
        finally:
            entry.write("ResponseComplete")

    return msgspec.structs.replace(reply, run=watched)
