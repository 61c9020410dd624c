"""Pod templates: when two are the same, and the hash that names a ReplicaSet."""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.kube.api.noun import without_nulls

HASH_LABEL = "pod-template-hash"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


def same_template(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether pods of both would be equal, the hash label aside."""
    return plain(one) == plain(other)


def plain(template: Mapping[str, Any]) -> dict[str, Any]:
    """A template without nulls and without the hash label."""
    found: dict[str, Any] = without_nulls(template)
    labels = found.get("metadata", {}).get("labels", {})
    labels.pop(HASH_LABEL, None)
    return found


def template_hash(template: Mapping[str, Any], collision_count: int) -> str:
    """A short name for a template, the same in every run (32-bit FNV-1a, in letters that spell no words)."""
    text = msgspec.json.encode(plain(template), order="deterministic")
    if collision_count:
        text += str(collision_count).encode()
    value = _FNV_OFFSET
    for byte in text:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return "".join(_ALPHABET[ord(digit) % len(_ALPHABET)] for digit in str(value))
