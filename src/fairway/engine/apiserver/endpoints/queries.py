"""The query parameters of each verb, read and checked."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.registry import DeleteOptions, PatchType, WriteOptions
from fairway.engine.apiserver.resources import Cause, causes

Query = Mapping[str, str]

_VALIDATIONS = ("Ignore", "Strict", "Warn")
_POLICIES = ("Foreground", "Background", "Orphan")
_MANAGER_BYTES_MAX = 128
_WHOLE = re.compile(r"[+-]?[0-9]+").fullmatch
_VERSION = re.compile(r"v1((alpha|beta)[1-9])?|v2(beta[12])?").fullmatch
_DIGITS_MAX = 100
"""Longer texts are out of range without being read, which takes Python quadratic time."""


def parse(query: str) -> Query:
    """The first value of each parameter."""
    if not query:
        return {}
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        found.setdefault(key, value)
    return found


def exact_name(query: Query) -> str:
    """The name that a list or watch is restricted to by `fieldSelector=metadata.name=x`: rules may name it."""
    selector = query.get("fieldSelector") if query else None
    if not selector:
        return ""
    terms = [term.partition("=") for term in selector.split(",")]
    return next((value.lstrip("=") for key, _, value in terms if key == "metadata.name"), "")


def flag(query: Query, name: str) -> bool:
    """A boolean parameter: present and neither `false` nor `0`."""
    return name in query and query[name].lower() not in ("false", "0")


def number(query: Query, name: str) -> int | None:
    """A whole number, or None when it is absent. Raises ApiError 400."""
    text = query.get(name, "")
    if not text:
        return None
    if not _WHOLE(text):
        raise errors.bad_request(
            f'unable to convert "{text}" of parameter {name}: strconv.ParseInt: parsing "{text}": invalid syntax'
        )
    if len(text) > _DIGITS_MAX or not -(2**63) <= int(text) < 2**63:
        raise errors.bad_request(
            f'unable to convert "{text}" of parameter {name}: strconv.ParseInt: parsing "{text}": value out of range'
        )
    return int(text)


class ListOptions(msgspec.Struct, frozen=True):
    """Options of list and watch, as in metav1.ListOptions. `revision` is None when the client named none."""

    labels: str = ""
    fields: str = ""
    revision: int | None = None
    match: str = ""
    limit: int = 0
    continue_: str = ""
    watch: bool = False
    bookmarks: bool = False
    timeout_seconds: int | None = None
    send_initial_events: bool | None = None


def list_options(query: Query) -> ListOptions:
    """Raises ApiError 400 and 422."""
    if not query:
        return ListOptions()
    options = ListOptions(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        revision=revision(query),
        match=query.get("resourceVersionMatch", ""),
        limit=number(query, "limit") or 0,
        continue_=query.get("continue", ""),
        watch=flag(query, "watch"),
        bookmarks=flag(query, "allowWatchBookmarks"),
        timeout_seconds=number(query, "timeoutSeconds"),
        send_initial_events=flag(query, "sendInitialEvents") if "sendInitialEvents" in query else None,
    )
    found = _check_watch(options) if options.watch else _check_list(options)
    if found:
        raise errors.invalid(errors.Subject("meta.k8s.io", "", "", "ListOptions"), found)
    return options


def revision(query: Query) -> int | None:
    """`resourceVersion`, or None when the client named none. Raises ApiError 400."""
    text = query.get("resourceVersion", "")
    if not text:
        return None
    why = "" if _WHOLE(text) and text.isalnum() else "invalid syntax"
    if not why and (len(text) > _DIGITS_MAX or int(text) >= 2**64):
        why = "value out of range"
    if why:
        raise errors.bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {why}'
        )
    return int(text)


def _check_list(options: ListOptions) -> list[Cause]:
    field, found = "resourceVersionMatch", list[Cause]()
    if options.send_initial_events is not None:
        found.append(_forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if not options.match:
        return found
    if options.revision is None:
        found.append(_forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if options.continue_:
        found.append(_forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
    if options.match not in ("Exact", "NotOlderThan"):
        found.append(_unsupported(field, options.match, ("Exact", "NotOlderThan", "")))
    if options.match == "Exact" and options.revision == 0:
        found.append(_forbidden(field, 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"'))
    return found


def _check_watch(options: ListOptions) -> list[Cause]:
    field = "resourceVersionMatch"
    if options.send_initial_events is not None:
        if not options.match:
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            return [_forbidden(field, why)]
        if options.match != "NotOlderThan":
            return [_unsupported(field, options.match, ("NotOlderThan",))]
        if options.send_initial_events and not options.bookmarks:
            return []
    elif options.match:
        return [_forbidden(field, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")]
    return []


def write_options(
    query: Query, user: User, user_agent: str, how: PatchType | None = None, *, creates: bool = False
) -> WriteOptions:
    """Of a patch, when it says `how`; else of a create or an update. Raises ApiError 400 and 422."""
    manager, validation = query.get("fieldManager", ""), query.get("fieldValidation", "") or "Warn"
    apply = how is PatchType.APPLY
    found: list[Cause] = []
    if validation not in _VALIDATIONS:
        found.append(_unsupported("fieldValidation", validation, ("", *_VALIDATIONS)))
    found += _check_manager(manager, needed=apply)
    if "force" in query and how is not None and not apply:
        found.append(_forbidden("force", "may not be specified for non-apply patch"))
    dry_run, broken = _dry_run(query.get("dryRun", ""))
    if found + broken:
        kind = "PatchOptions" if how else "CreateOptions" if creates else "UpdateOptions"
        raise errors.invalid(errors.Subject("meta.k8s.io", "", "", kind), found + broken)
    manager = manager or _manager_of(user_agent)
    return WriteOptions(user, dry_run, manager, validation, flag(query, "force"))


def _check_manager(manager: str, *, needed: bool) -> list[Cause]:
    if needed and not manager:
        return [Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")]
    if len(manager.encode()) > _MANAGER_BYTES_MAX:
        return [
            Cause("FieldValueTooLong", f"Too long: may not be more than {_MANAGER_BYTES_MAX} bytes", "fieldManager")
        ]
    wrong = [(index, each) for index, each in enumerate(manager) if not each.isprintable()]
    return [
        causes.invalid("fieldManager", manager, f"invalid character U+{ord(each):04X} (at position {index})")
        for index, each in wrong
    ]


def _manager_of(user_agent: str) -> str:
    """Who does not say who it is, is called by its program."""
    return user_agent.partition("/")[0].strip()[:_MANAGER_BYTES_MAX] or "unknown"


def _dry_run(text: str) -> tuple[bool, list[Cause]]:
    if text in ("", "All"):
        return text == "All", []
    shown = ", ".join(f'"{each}"' for each in text.split(","))
    why = f'Unsupported value: []string{{{shown}}}: supported values: "All"'
    return False, [Cause("FieldValueNotSupported", why, "dryRun")]


class _Preconditions(msgspec.Struct, frozen=True, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteBody(msgspec.Struct, frozen=True, rename="camel"):
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: tuple[str, ...] | None = None


def delete_options(query: Query, body: object, user: User) -> DeleteOptions:
    """From the body, else from the query. Raises ApiError 400 and 422."""
    if isinstance(body, dict):
        _check_delete_kind(body)
    try:
        said = msgspec.convert(body or {}, _DeleteBody)
    except msgspec.ValidationError as error:
        raise errors.bad_request(f"json: cannot unmarshal DeleteOptions: {error}") from error
    policy = said.propagation_policy or query.get("propagationPolicy") or None
    orphan = said.orphan_dependents
    if orphan is None and "orphanDependents" in query:
        orphan = flag(query, "orphanDependents")
    dry_run, found = _dry_run(",".join(said.dry_run or ()) or query.get("dryRun", ""))
    if policy is not None and orphan is not None:
        why = "orphanDependents and deletionPropagation cannot be both set"
        found.append(causes.invalid("propagationPolicy", policy, why))
    if policy is not None and policy not in _POLICIES:
        found.append(_unsupported("propagationPolicy", policy, (*_POLICIES, "nil")))
    if found:
        raise errors.invalid(errors.Subject("meta.k8s.io", "", "", "DeleteOptions"), found)
    if policy is None and orphan is not None:
        policy = "Orphan" if orphan else "Background"
    grace = said.grace_period_seconds
    conditions = said.preconditions or _Preconditions()
    return DeleteOptions(
        user=user,
        dry_run=dry_run,
        grace_period_seconds=number(query, "gracePeriodSeconds") if grace is None else grace,
        propagation_policy=policy,
        uid=conditions.uid,
        revision=conditions.resource_version,
    )


def _check_delete_kind(body: Mapping[str, Any]) -> None:
    """Every group has DeleteOptions of its versions, all of them alike. Raises ApiError 400."""
    version = str(body.get("apiVersion") or "")
    if body.get("kind") not in (None, "", "DeleteOptions"):
        raise errors.bad_request("decoded object cannot be converted to DeleteOptions")
    if version and not _VERSION(version.rpartition("/")[2]):
        raise errors.bad_request(f'no kind "DeleteOptions" is registered for version "{version}"')


def _forbidden(field: str, why: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {why}", field)


def _unsupported(field: str, value: str, options: tuple[str, ...]) -> Cause:
    listed = ", ".join(f'"{option}"' for option in options)
    return Cause("FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}', field)
