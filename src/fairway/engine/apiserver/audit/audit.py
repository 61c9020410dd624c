"""From requests to audit events."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from fairway.engine.apiserver.audit.file import AuditFile
from fairway.engine.apiserver.audit.policy import NAMES, Level, Policy
from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.authorization import Attributes
from fairway.kube.api.meta import micro_timestamp
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Reply, Request, Response, Stream

_SECRET = frozenset({"secrets", "tokenreviews", "tokenrequests"})
_SECRET_KINDS = frozenset({"Secret", "SecretList", "List", "TokenReview", "TokenRequest"})
_BODY_BYTES_MAX = 256 * 1024
_encode = msgspec.json.Encoder().encode

Object = dict[str, Any]


class Audit:
    """Writes what the policy wants."""

    def __init__(self, policy: Policy, file: AuditFile, clock: Clock, decode: Callable[[bytes], Object]) -> None:
        """`decode` reads request bodies in protobuf; it raises ValueError."""
        self._policy = policy
        self._file = file
        self._clock = clock
        self._decode = decode

    def begin(self, request: Request, attributes: Attributes, user: User) -> "Entry | None":
        """The entry of a request, or None when nothing of it is to be written. `user` is who really sent it."""
        level = self._policy.level(attributes)
        if level is Level.NONE:
            return None
        now = self._clock.now()
        event = _event(request, attributes, user, level, now)
        entry = Entry(self._file, self._policy, self._clock, attributes, event, level)
        if level >= Level.REQUEST and not _is_secret(attributes) and request.method in ("POST", "PUT", "PATCH"):
            body = self._body(request.body, bare=self._policy.bare(attributes))
            if body is not None:
                event["requestObject"] = body
        entry.write("RequestReceived")
        return entry

    def _body(self, data: bytes, *, bare: bool) -> Any:
        """A body as the log shows it; None for one that is too big or that nobody can read."""
        if not data or len(data) > _BODY_BYTES_MAX:
            return None
        try:
            value = self._decode(data) if data.startswith(b"k8s\0") else msgspec.json.decode(data)
        except (ValueError, RecursionError):
            return None
        if isinstance(value, dict) and value.get("kind") in _SECRET_KINDS:
            return None  # sent to a wrong address
        return _bare(value) if bare else value

    def close(self) -> None:
        self._file.close()


class Entry:
    """One request on its way."""

    def __init__(
        self,
        file: AuditFile,
        policy: Policy,
        clock: Clock,
        attributes: Attributes,
        event: Object,
        level: Level,
    ) -> None:
        self._file = file
        self._policy = policy
        self._clock = clock
        self._attributes = attributes
        self._event = event
        self._level = level

    def decided(self, *, allowed: bool, reason: str) -> None:
        """What authorization says."""
        annotations = {"authorization.k8s.io/decision": "allow" if allowed else "forbid"}
        self._event["annotations"] = {**annotations, "authorization.k8s.io/reason": reason}

    def answered(self, reply: Reply) -> None:
        """The answer is known; a stream has only begun."""
        if not isinstance(reply, Response):
            self._event["responseStatus"] = {"metadata": {}, "code": reply.status if isinstance(reply, Stream) else 101}
            self.write("ResponseStarted")
            return
        self._event["responseStatus"] = _status(reply)
        if self._level is Level.REQUEST_RESPONSE and not _is_secret(self._attributes):
            self._respond(reply)
        self.write("ResponseComplete")

    def write(self, stage: str) -> None:
        if not self._policy.wants(self._attributes, stage):
            return
        shown = {**self._event, "stage": stage, "stageTimestamp": micro_timestamp(self._clock.now())}
        self._file.write(_encode(shown) + b"\n")

    def _respond(self, reply: Response) -> None:
        if not reply.body or len(reply.body) > _BODY_BYTES_MAX:
            return
        try:
            value = msgspec.json.decode(reply.body)
        except (msgspec.DecodeError, RecursionError):
            return
        self._event["responseObject"] = _bare(value) if self._policy.bare(self._attributes) else value


def _event(request: Request, attributes: Attributes, user: User, level: Level, now: datetime) -> Object:
    query = f"?{request.query}" if request.query else ""
    event: Object = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": NAMES[level],
        "auditID": str(uuid.uuid4()),
        "stage": "",
        "requestURI": request.path + query,
        "verb": attributes.verb,
        "user": user.info(),
    }
    if attributes.user != user:
        event["impersonatedUser"] = attributes.user.info()
    event["sourceIPs"] = [request.peer.address or "127.0.0.1"]
    if request.header("user-agent"):
        event["userAgent"] = request.header("user-agent")
    if attributes.resource:
        event["objectRef"] = _reference(attributes)
    event["requestReceivedTimestamp"] = micro_timestamp(now)
    return event


def _reference(attributes: Attributes) -> Object:
    pairs = (
        ("resource", attributes.resource),
        ("namespace", attributes.namespace),
        ("name", attributes.name),
        ("apiGroup", attributes.group),
        ("apiVersion", attributes.version),
        ("subresource", attributes.subresource),
    )
    return {key: value for key, value in pairs if value}


def _status(reply: Response) -> Object:
    status: Object = {"metadata": {}, "code": reply.status}
    if reply.status >= 400:
        try:
            body = msgspec.json.decode(reply.body)
        except msgspec.DecodeError:
            return status
        status |= {key: body[key] for key in ("status", "message", "reason") if isinstance(body, dict) and key in body}
    return status


def _is_secret(attributes: Attributes) -> bool:
    """Of these only the metadata is ever written."""
    if attributes.subresource == "token":
        return True
    return attributes.resource in _SECRET


def _bare(value: Any) -> Any:
    """Without managed fields."""
    if isinstance(value, Mapping):
        return {key: _bare(each) for key, each in value.items() if key != "managedFields"}
    return [_bare(each) for each in value] if isinstance(value, list) else value
