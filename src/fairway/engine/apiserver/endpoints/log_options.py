"""The query of a pod's log, as core/v1 ValidatePodLogOptions wants it."""

from collections.abc import Iterator
from datetime import datetime

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints.queries import Query, number
from fairway.engine.apiserver.resources import Cause, causes


def check(query: Query, pod: str) -> None:
    """Raises ApiError: 400 for what cannot be read, 422 for what breaks a rule."""
    found = list(_broken(query))
    if found:
        raise errors.invalid(errors.Subject("", "pods", pod, "PodLogOptions"), found)


def _broken(query: Query) -> Iterator[Cause]:
    lines, limit, seconds = (number(query, name) for name in ("tailLines", "limitBytes", "sinceSeconds"))
    _check_time(query.get("sinceTime", ""))
    if lines is not None and lines < 0:
        yield causes.invalid("tailLines", lines, causes.NOT_NEGATIVE)
    if limit is not None and limit < 1:
        yield causes.invalid("limitBytes", limit, "must be greater than 0")
    if seconds is not None and query.get("sinceTime"):
        yield causes.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified")
    elif seconds is not None and seconds < 1:
        yield causes.invalid("sinceSeconds", seconds, "must be greater than 0")
    if query.get("stream"):
        yield causes.forbidden("stream", "may not be specified")  # as upstream without PodLogsQuerySplitStreams


def _check_time(text: str) -> None:
    if not text:
        return
    try:
        known = "T" in text and datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        known = False
    if not known:
        raise errors.bad_request(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{text}"')
