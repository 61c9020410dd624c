"""What a genuine delivery says. Nothing in it is acted upon but that there may be something new."""

import hashlib
from typing import Any

import msgspec

from fairway.delivery.forges.verify import Delivery
from fairway.delivery.git.errors import printable

_PUSHES = frozenset({"push hook", "push"})
_EVENT_HEADERS = (
    "x-gitcode-event",
    "x-gitee-event",
    "x-forgejo-event",
    "x-gitea-event",
    "x-gitlab-event",
    "x-github-event",
)
_ID_HEADERS = (
    "x-gitcode-delivery",
    "x-forgejo-delivery",
    "x-gitea-delivery",
    "x-github-delivery",
    "webhook-id",
    "idempotency-key",
    "x-gitlab-event-uuid",
)
_ACTOR_FIELDS = ("user_name", "user_username", "pusher", "sender")
_NAME_FIELDS = ("name", "login", "username", "user_name")
_HEADS = "refs/heads/"
_CHARS_MAX = 100


class Event(msgspec.Struct, frozen=True):
    """A delivery, reduced to what matters. `branch` is empty for tags and for what is no push."""

    id: str
    is_push: bool = False
    branch: str = ""
    deleted: bool = False
    actor: str = ""
    repository_id: str = ""


def identity(delivery: Delivery) -> str:
    """What tells deliveries apart: the forge's own id, else the sum of what is signed and said."""
    named = next((found for name in _ID_HEADERS if (found := delivery.header(name))), "")
    if named:
        return printable(named)[:_CHARS_MAX]
    said = f"{delivery.header('x-gitee-timestamp')}\n{delivery.header('x-gitee-token')}\n".encode()
    return hashlib.sha256(said + delivery.body).hexdigest()


def event(delivery: Delivery) -> Event | None:
    """None when the body is not a JSON object."""
    try:
        body = msgspec.json.decode(delivery.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    kind = next((found for name in _EVENT_HEADERS if (found := delivery.header(name))), "").lower()
    ref = _text(body.get("ref"))
    return Event(
        id=identity(delivery),
        is_push=kind in _PUSHES,
        branch=ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else "",
        deleted=body.get("deleted") is True or set(_text(body.get("after"))) == {"0"},
        actor=_actor(body),
        repository_id=_repository_id(body),
    )


def ignored(seen: Event, branch: str) -> str:
    """Why nothing is done about it; empty when the branch is to be looked at."""
    if not seen.is_push:
        return "only pushes matter here"
    if seen.branch != branch:
        return f"the App is made from branch {branch}"
    return "the branch was deleted" if seen.deleted else ""


def _actor(body: dict[str, Any]) -> str:
    for field in _ACTOR_FIELDS:
        found = body.get(field)
        if isinstance(found, dict):
            found = next((found[name] for name in _NAME_FIELDS if found.get(name)), "")
        if isinstance(found, str) and found:
            return printable(found)[:_CHARS_MAX]
    return ""


def _repository_id(body: dict[str, Any]) -> str:
    repository = body.get("repository")
    found = repository.get("id") if isinstance(repository, dict) else None
    found = body.get("project_id") if found is None else found
    return str(found)[:_CHARS_MAX] if isinstance(found, int | str) else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
