"""Secrets: bytes by key, some with a type that says which keys there must be."""

import base64
import binascii
from datetime import datetime

import msgspec

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.configmaps import BYTES_MAX, validate_frozen
from fairway.engine.apiserver.resources.defaulting import child, fill
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    name_of,
)

OPAQUE = "Opaque"
TOKEN = "kubernetes.io/service-account-token"
_ACCOUNT = "kubernetes.io/service-account.name"
_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def default(secret: Object) -> None:
    """The type is Opaque, and `stringData` becomes `data`."""
    fill(secret, "type", OPAQUE)
    merge_strings(secret)


def merge_strings(secret: Object) -> None:
    """`stringData` is written only: its texts win over `data` and are never stored."""
    texts = secret.pop("stringData", None)
    for key, text in (texts or {}).items():
        child(secret, "data")[key] = base64.b64encode((text or "").encode()).decode()


def prepare_update(new: Object, old: Object) -> None:
    """An update that leaves the type out means the same type."""
    fill(new, "type", old.get("type") or OPAQUE)


def validate(new: Object, old: Object | None) -> list[Cause]:
    """Keys, size, the keys that the type asks for; the type never changes."""
    data = new.get("data") or {}
    found: list[Cause] = []
    size = 0
    for key, value in data.items():
        found += causes.invalid_each(f"data[{key}]", key, names.config_key(key))
        decoded = _decode(value or "")
        if decoded is None:
            found.append(causes.invalid(f"data[{key}]", "<value omitted>", "must be base64"))
        size += len(decoded or b"")
    if size > BYTES_MAX:
        found.append(causes.too_long("data", BYTES_MAX))
    found += _typed(new, data)
    if old is None:
        return found
    found += causes.immutable("type", new.get("type"), old.get("type"))
    return found + validate_frozen(new, old, ("data",))


def row(secret: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(secret), secret.get("type") or OPAQUE, len(secret.get("data") or ()), age_of(secret, now)]


def selectable(secret: Object) -> dict[str, str]:
    """The field selectors of secrets."""
    return {"type": secret.get("type") or ""}


def _typed(secret: Object, data: Object) -> list[Cause]:
    kind = secret.get("type") or OPAQUE
    if kind == TOKEN:
        annotations = (secret.get("metadata") or {}).get("annotations") or {}
        return [] if annotations.get(_ACCOUNT) else [causes.required(f"metadata.annotations[{_ACCOUNT}]")]
    if kind == "kubernetes.io/basic-auth":
        return _basic(data)
    missing = [causes.required(f"data[{key}]") for key in _KEYS.get(kind, ()) if key not in data]
    return missing or _docker(kind, data)


def _basic(data: Object) -> list[Cause]:
    """One of the two is enough."""
    if "username" in data or "password" in data:
        return []
    return [causes.required("data[username]"), causes.required("data[password]")]


def _docker(kind: str, data: Object) -> list[Cause]:
    if not kind.startswith("kubernetes.io/dockerc"):
        return []
    key = _KEYS[kind][0]
    try:
        msgspec.json.decode(_decode(data[key]) or b"")
    except msgspec.DecodeError as error:
        return [causes.invalid(f"data[{key}]", "<secret contents redacted>", str(error))]
    return []


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


SECRETS = Kind(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    singular="secret",
    namespaced=True,
    list_kind="SecretList",
    columns=(
        NAME,
        Column("Type", "string", "Used to facilitate programmatic handling of secret data."),
        Column("Data", "string", "How many keys there are."),
        AGE,
    ),
    row=row,
    default=default,
    prepare_create=merge_strings,
    prepare_update=prepare_update,
    validate=validate,
    selectable=selectable,
)
