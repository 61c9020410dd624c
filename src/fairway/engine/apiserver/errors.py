"""Every failure as a metav1.Status, with upstream's codes, reasons and words (apimachinery, api/errors)."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec

Details = dict[str, Any]


class CauseLike(Protocol):
    """One reason why an object is refused."""

    @property
    def reason(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def field(self) -> str: ...


class Subject(msgspec.Struct, frozen=True):
    """What a request is about, as errors name it: `deployments.apps "web"`."""

    group: str
    plural: str
    name: str = ""
    kind: str = ""

    @property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def details(self, kind: str = "", causes: Iterable[CauseLike] = ()) -> Details:
        listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
        return _filled(name=self.name, group=self.group, kind=kind or self.plural, causes=listed)


class ApiError(Exception):
    """A request that ends with a Status; the only exception that endpoints turn into an answer."""

    def __init__(self, code: int, reason: str, message: str, details: Details | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    @property
    def status(self) -> dict[str, Any]:
        return failure(self.code, self.reason, self.message, self.details)


def failure(code: int, reason: str, message: str, details: Details | None = None) -> dict[str, Any]:
    """A Status of status Failure; its keys are in upstream's order."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    status["message"] = message
    if reason:
        status["reason"] = reason
    if details:
        status["details"] = _ordered(details)
    return {**status, "code": code}


def success(details: Details | None = None, code: int | None = None) -> dict[str, Any]:
    """A Status of status Success."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details:
        status["details"] = _ordered(details)
    return {**status, "code": code} if code else status


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(subject: Subject, why: str, causes: Iterable[CauseLike] = ()) -> ApiError:
    """The object (or the kind, without a name) may not be handled so: `pods "x" is forbidden: …`."""
    named = f'{subject.resource} "{subject.name}"' if subject.name else subject.resource
    return ApiError(403, "Forbidden", f"{named} is forbidden: {why}", subject.details(causes=causes))


def not_found(subject: Subject) -> ApiError:
    return ApiError(404, "NotFound", f'{subject.resource} "{subject.name}" not found', subject.details())


def no_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(subject: Subject) -> ApiError:
    message = f'{subject.resource} "{subject.name}" already exists'
    return ApiError(409, "AlreadyExists", message, subject.details())


def conflict(subject: Subject, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {subject.resource} "{subject.name}": {why}'
    return ApiError(409, "Conflict", message, subject.details())


def modified(subject: Subject) -> ApiError:
    return conflict(
        subject, "the object has been modified; please apply your changes to the latest version and try again"
    )


def apply_conflict(message: str, causes: Iterable[CauseLike]) -> ApiError:
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    return ApiError(409, "Conflict", message, {"causes": listed})


def method_not_allowed() -> ApiError:
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, {})


def not_acceptable(media_types: Iterable[str]) -> ApiError:
    message = f"only the following media types are accepted: {', '.join(media_types)}"
    return ApiError(406, "NotAcceptable", message)


def unsupported_media_type(media_types: Iterable[str]) -> ApiError:
    accepted = ", ".join(media_types)
    message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
    return ApiError(415, "UnsupportedMediaType", message)


def too_large(limit_bytes: int) -> ApiError:
    message = f"Request entity too large: limit is {limit_bytes}"
    return ApiError(413, "RequestEntityTooLarge", message)


def expired(message: str, continue_token: str = "") -> ApiError:
    error = ApiError(410, "Expired", message)
    if continue_token:
        error = ContinueExpired(410, "Expired", message)
        error.continue_token = continue_token
    return error


class ContinueExpired(ApiError):
    """A list that cannot go on where it was; the token goes on with newer objects."""

    continue_token = ""

    @property
    def status(self) -> dict[str, Any]:
        return {**super().status, "metadata": {"continue": self.continue_token}}


def invalid(subject: Subject, causes: Iterable[CauseLike]) -> ApiError:
    """The object breaks rules: all causes at once."""
    listed = list(causes)
    shown = [f"{cause.field}: {cause.message}" for cause in listed]
    text = shown[0] if len(shown) == 1 else "[" + ", ".join(dict.fromkeys(shown)) + "]"
    message = f'{subject.qualified_kind} "{subject.name}" is invalid: {text}'
    return ApiError(422, "Invalid", message, subject.details(kind=subject.kind, causes=listed))


def unprocessable(why: str) -> ApiError:
    """A patch that does not fit the object, in the words of a generic server response."""
    cause = {"reason": "UnexpectedServerResponse", "message": why}
    return ApiError(
        422, "Invalid", "the server rejected our request due to an error in our request", {"causes": [cause]}
    )


def too_large_revision(wanted: int, current: int) -> ApiError:
    """A resource version from the future."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    return ApiError(504, "Timeout", message, {"causes": [cause], "retryAfterSeconds": 1})


def too_many_requests(message: str, retry_after_seconds: int, details: Details | None = None) -> ApiError:
    return ApiError(429, "TooManyRequests", message, {**(details or {}), "retryAfterSeconds": retry_after_seconds})


def unavailable(message: str) -> ApiError:
    return ApiError(503, "ServiceUnavailable", message)


def internal(message: str) -> ApiError:
    cause = {"message": message}
    return ApiError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [cause]})


_DETAIL_ORDER = ("name", "group", "kind", "uid", "causes", "retryAfterSeconds")


def _ordered(details: Mapping[str, Any]) -> Details:
    return {key: details[key] for key in _DETAIL_ORDER if details.get(key)}


def _filled(**details: Any) -> Details:
    return {key: value for key, value in details.items() if value}
