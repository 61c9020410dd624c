"""What a Kubernetes API can answer instead of an object.

ApiError
├── Invalid         422, 400: the object or the request is wrong
├── Forbidden       401, 403
├── NotFound        404
├── AlreadyExists   409 on create
├── Conflict        409 on update: somebody was faster
└── Gone            410: the revision is too old; list again
Unreachable         no answer at all
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Unreachable(Exception):
    """The API did not answer; nothing is known about what it did."""


class ApiError(Exception):
    """The API answered with a Status: its code, reason, message and details."""

    def __init__(self, code: int, reason: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}


class Invalid(ApiError):
    """The object or the request is wrong."""


class Forbidden(ApiError):
    """Not known, or not allowed."""


class NotFound(ApiError):
    """There is no such object or kind."""


class AlreadyExists(ApiError):
    """The name is taken."""


class Conflict(ApiError):
    """The object was changed since it was read."""


class Gone(ApiError):
    """The revision is no longer kept."""


_BY_CODE: Mapping[int, type[ApiError]] = {
    400: Invalid,
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}


def from_status(code: int, status: Mapping[str, Any]) -> ApiError:
    """The error for a `metav1.Status`."""
    reason = str(status.get("reason", ""))
    message = str(status.get("message") or f"the API answered {code}")
    kind = AlreadyExists if reason == "AlreadyExists" else _BY_CODE.get(int(status.get("code") or code), ApiError)
    return kind(code, reason, message, status.get("details"))


def from_body(code: int, body: bytes) -> ApiError:
    """The error for an answer whose body should be a `metav1.Status` but may be anything."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict):
        status = {"message": body[:200].decode("utf-8", "replace").strip()}
    return from_status(code, status)
