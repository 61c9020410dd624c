"""What profiles take from Secrets and ConfigMaps: users, authorities, client keys and headers."""

import base64
import binascii
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fairway.edge.policy import BasicAuth, ExternalAuth, FastCgi, Profile, UpstreamTls, User
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import checks, pem
from fairway.edge.translate.checks import Refused, short
from fairway.kube.api.meta import ObjectKey

_USERS_MAX = 10_000
_USER = re.compile(r"[A-Za-z0-9._@+-]{1,128}")
_HASH = re.compile(
    r"\$(?:1|5|6)\$(?:rounds=\d{1,6}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{22,86}"
    r"|\$2[aby]\$(?:0[4-9]|1[0-4])\$[./A-Za-z0-9]{53}|\$y\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9]{43}"
    r"|\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}|\{SHA\}[A-Za-z0-9+/=]{28}|[./A-Za-z0-9]{13}"
)


def needs(profile: Profile) -> tuple[tuple[ObjectKey, ...], tuple[ObjectKey, ...]]:
    """The Secrets and the ConfigMaps that a profile refers to."""
    secrets = (profile.basic_auth and profile.basic_auth.secret, profile.upstream_tls and profile.upstream_tls.secret)
    maps = (
        profile.response_headers_from,
        profile.external_auth and profile.external_auth.headers_from,
        profile.fast_cgi and profile.fast_cgi.parameters_from,
    )
    return tuple(key for key in secrets if key), tuple(key for key in maps if key)


def fill(profile: Profile, snapshot: Snapshot) -> tuple[Profile, tuple[str, ...]]:
    """The profile with its contents, and what is wrong with them. What keeps people out stays closed without."""
    problems: list[str] = []
    changes: dict[str, object] = {}
    for field, filler in _FILLERS.items():
        value = getattr(profile, field)
        if value is not None:
            try:
                changes |= filler(value, snapshot)
            except Refused as error:
                problems.append(str(error))
                changes |= _BROKEN[field](value)
    return (msgspec.structs.replace(profile, **changes) if changes else profile), tuple(problems)


def _basic(auth: BasicAuth, snapshot: Snapshot) -> dict[str, object]:
    data = _secret(auth.secret, snapshot)
    try:
        users = _per_user(data) if auth.per_user else _htpasswd(_text(data, "auth"))
    except Refused as error:
        raise Refused(f"Secret {auth.secret}: {error}; nobody is let in meanwhile") from None
    return {"basic_auth": msgspec.structs.replace(auth, users=users)}


def _per_user(data: Mapping[str, str]) -> tuple[User, ...]:
    return tuple(_user(name, _text(data, name).strip()) for name in sorted(data))


def _htpasswd(text: str) -> tuple[User, ...]:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(lines) > _USERS_MAX:
        raise Refused(f"{len(lines)} users are more than {_USERS_MAX}")
    users = {name: _user(name, rest.partition(":")[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return tuple(users[name] for name in sorted(users))


def _user(name: str, password_hash: str) -> User:
    if not _USER.fullmatch(name):
        raise Refused(f"user {short(name)} must be made of letters, digits and ._@+-")
    if not _HASH.fullmatch(password_hash):
        raise Refused(f"the password of user {name} is not a hash of htpasswd: bcrypt, crypt, apr1 or SHA")
    return User(name, password_hash)


def _external(auth: ExternalAuth, snapshot: Snapshot) -> dict[str, object]:
    if auth.headers_from is None:
        return {}
    headers = _headers(auth.headers_from, snapshot)
    return {"external_auth": msgspec.structs.replace(auth, extra_headers=headers)}


def _response_headers(key: ObjectKey, snapshot: Snapshot) -> dict[str, object]:
    return {"response_headers": _headers(key, snapshot)}


def _fast_cgi(fast_cgi: FastCgi, snapshot: Snapshot) -> dict[str, object]:
    if fast_cgi.parameters_from is None:
        return {}
    parameters = _headers(fast_cgi.parameters_from, snapshot)
    return {"fast_cgi": msgspec.structs.replace(fast_cgi, parameters=parameters)}


def _upstream(tls: UpstreamTls, snapshot: Snapshot) -> dict[str, object]:
    if tls.secret is None:
        return {}
    data = _secret(tls.secret, snapshot)
    try:
        ca = authority(data["ca.crt"]) if "ca.crt" in data else ""
        identity = pem.bundle(data["tls.crt"], data.get("tls.key", "")) if "tls.crt" in data else ""
    except Refused as error:
        raise Refused(f"Secret {tls.secret}: {error}; its servers are not spoken to meanwhile") from None
    return {"upstream_tls": msgspec.structs.replace(tls, authority=ca, identity=identity)}


@functools.lru_cache(maxsize=1024)
def authority(text_base64: str) -> str:
    """The certificates of a ca.crt in canonical form. Raises Refused."""
    try:
        found = x509.load_pem_x509_certificates(base64.b64decode(text_base64, validate=True))
    except (binascii.Error, ValueError):
        raise Refused("ca.crt holds no certificate in PEM form") from None
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in found).decode("ascii")


def _headers(key: ObjectKey, snapshot: Snapshot) -> tuple[tuple[str, str], ...]:
    found = snapshot.config_maps.get(key)
    if found is None:
        raise Refused(f"ConfigMap {key} does not exist")
    try:
        return tuple((checks.token(name), checks.header_value(text)) for name, text in sorted(found.data.items()))
    except Refused as error:
        raise Refused(f"ConfigMap {key}: {error}") from None


def _secret(key: ObjectKey, snapshot: Snapshot) -> Mapping[str, str]:
    found = snapshot.secrets.get(key)
    if found is None:
        raise Refused(f"Secret {key} does not exist; nobody is let in meanwhile")
    return found.data


def _text(data: Mapping[str, str], name: str) -> str:
    if name not in data:
        raise Refused(f"it has no {name}")
    try:
        return base64.b64decode(data[name], validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        raise Refused(f"{name} is not text") from None


_FILLERS: Mapping[str, Callable[[Any, Snapshot], dict[str, object]]] = {
    "basic_auth": _basic,
    "external_auth": _external,
    "response_headers_from": _response_headers,
    "upstream_tls": _upstream,
    "fast_cgi": _fast_cgi,
}
_BROKEN: Mapping[str, Callable[[Any], dict[str, object]]] = {
    "basic_auth": lambda value: {},  # without users it stays shut
    "external_auth": lambda value: {"allowed_sources": ("0.0.0.0/32",), "any_protection": False},
    "response_headers_from": lambda value: {},
    "upstream_tls": lambda value: {"upstream_tls": msgspec.structs.replace(value, broken=True)},
    "fast_cgi": lambda value: {},
}
