"""The four ways of patching, as one function from the current object to the wanted one."""

from enum import Enum
from typing import Any

from fairway.engine.apiserver import errors, schema
from fairway.engine.apiserver.apply import json_patch, merge_patch, server_side, strategic
from fairway.engine.apiserver.apply.errors import Conflict, PatchError
from fairway.engine.apiserver.registry.kinds import subject_of
from fairway.engine.apiserver.registry.options import WriteOptions
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store.entries import Object


class PatchType(Enum):
    """By media type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


def patched(kind: Kind, structure: schema.Type | None, how: PatchType, current: Object, patch: Any) -> Object:
    """`current` with the patch applied. Raises ApiError."""
    try:
        if how is PatchType.JSON:
            result = json_patch.apply(current, patch)
        elif how is PatchType.MERGE:
            result = merge_patch.apply(current, patch)
        elif structure is not None and kind.custom is None:
            result = strategic.apply(structure, current, patch)
        else:
            accepted = (PatchType.JSON, PatchType.MERGE, PatchType.APPLY)
            raise errors.unsupported_media_type([how.value for how in accepted])
    except PatchError as error:
        raise _refused(error) from error
    if not isinstance(result, dict):
        raise errors.bad_request(f"the patch leaves something that is not a {kind.kind}")
    return result


def applied(
    kind: Kind,
    structure: schema.Type | None,
    live: Object | None,
    wanted: Object,
    options: WriteOptions,
    time: str,
    subresource: str,
) -> Object:
    """The object after a server-side apply, its managed fields included. Raises ApiError."""
    try:
        return server_side.apply(
            structure or schema.DEDUCED, live, wanted, options.field_manager, options.force, time, subresource
        )
    except Conflict as conflict:
        raise errors.apply_conflict(conflict.message, conflict.causes) from conflict
    except PatchError as error:
        if error.code >= 500:
            name = str(wanted["metadata"].get("name") or "")
            raise errors.ApiError(500, "InternalError", error.message, subject_of(kind, name).details()) from error
        raise _refused(error) from error


def _refused(error: PatchError) -> errors.ApiError:
    if error.code == 422:
        return errors.unprocessable(error.message)
    if error.code == 413:
        return errors.ApiError(413, "RequestEntityTooLarge", error.message)
    return errors.bad_request(error.message)
