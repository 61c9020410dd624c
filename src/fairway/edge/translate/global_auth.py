"""One authentication server for all Ingresses: the `global-auth-*` keys of the controller's ConfigMap.

As ingress-nginx (docs/user-guide/nginx-configuration/configmap.md): it holds where an Ingress names no auth-url of its
own and does not set enable-global-auth to "false"; a location of ACME challenges stays open. Unlike there, a key that
cannot be read lets nobody in instead of everybody.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from fairway.edge.ir import Backend, Problem
from fairway.edge.policy import ExternalAuth, Profile, Protocol
from fairway.edge.snapshot import Snapshot
from fairway.edge.translate import backends
from fairway.edge.translate.backends import Unresolved
from fairway.edge.translate.checks import Refused
from fairway.edge.translate.profile import NOBODY, external_auth, service
from fairway.edge.translate.settings import Settings
from fairway.edge.translate.table import PREFIX, TABLE
from fairway.kube.api.meta import ObjectKey

SETTINGS = ObjectKey("ingress-nginx", "ingress-nginx-controller")
OPEN_PATH = "/.well-known/acme-challenge"
_BACKEND = "global-auth"
_MARK = "global-"
_OPEN_LOCATIONS = "no-auth-locations"
_NAMES = (
    *("auth-url", "auth-method", "auth-signin", "auth-signin-redirect-param", "auth-response-headers"),
    *("auth-request-redirect", "auth-snippet", "auth-cache-key", "auth-cache-duration", "auth-always-set-cookie"),
)
KEYS = (*(f"{_MARK}{name}" for name in _NAMES), _OPEN_LOCATIONS)


class Guard(msgspec.Struct, frozen=True):
    """What backends get that have nothing of their own; `backend` is the authentication server, if it is a Service."""

    auth: ExternalAuth | None = None
    closed: bool = False
    backend: Backend | None = None
    problems: tuple[Problem, ...] = ()

    def onto(self, profile: Profile) -> Profile:
        """The profile with what is asked of everybody."""
        asked = profile.guarded and not profile.inner and profile.protocol is not Protocol.TCP
        if not asked or profile.external_auth is not None:
            return profile
        if self.closed:
            return msgspec.structs.replace(profile, allowed_sources=NOBODY, any_protection=False)
        return msgspec.structs.replace(profile, external_auth=self.auth) if self.auth else profile


OPEN = Guard()


def read(snapshot: Snapshot) -> Guard:
    """Pure; nothing is asked of anybody where there is no ConfigMap, or no key in it."""
    config = snapshot.config_maps.get(SETTINGS)
    data = config.data if config else {}
    if not any(key in data for key in KEYS):
        return OPEN
    fields, closed, messages = _fields(data)
    settings = Settings(owner=SETTINGS, **fields)
    backend = None
    if found := service(settings.auth_url):
        ref, profile = found
        try:
            backend = Backend(_BACKEND, backends.servers(ref, snapshot), profile)
        except Unresolved as error:
            backend = Backend(_BACKEND, (), profile)
            messages.append(f"global-auth-url: {error}; nobody is let in meanwhile")
    auth = external_auth(settings)
    if auth is not None and backend is not None:
        auth = msgspec.structs.replace(auth, backend=backend.name)
    problems = tuple(Problem(SETTINGS, "InvalidConfiguration", message) for message in messages)
    return Guard(auth, closed, backend, problems)


def _fields(data: Mapping[str, str]) -> tuple[dict[str, Any], bool, list[str]]:
    """What the keys mean, whether nobody may come in, and what is wrong."""
    fields: dict[str, Any] = {}
    closed, messages = False, []
    for name in _NAMES:
        row, text = TABLE[PREFIX + name], data.get(_MARK + name, "").strip()
        if not text:
            continue
        try:
            fields[row.field] = row.read(text)
        except Refused as error:
            closed = closed or row.protects
            messages.append(f"{_MARK}{name}: {error}" + ("; nobody is let in meanwhile" if row.protects else ""))
    if data.get(_OPEN_LOCATIONS, OPEN_PATH).strip() != OPEN_PATH:
        messages.append(
            f"{_OPEN_LOCATIONS}: only {OPEN_PATH} stays open without a word; give the Ingress of any other location "
            f'the annotation {PREFIX}enable-global-auth: "false"'
        )
    return fields, closed, messages
