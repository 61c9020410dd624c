"""Merge patches for what controllers report."""

from typing import Any

import msgspec

from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun, encode


def status_patch(status: Noun, **always: Any) -> dict[str, Any]:
    """Every field of a status: those at their default are removed, unless named in `always`."""
    empty = {field.encode_name: None for field in msgspec.structs.fields(status)}
    return {**empty, **always, **encode(status)}


def seen_version(metadata: ObjectMeta) -> dict[str, Any]:
    """The part of a patch that makes it fail when the object changed meanwhile."""
    return {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
