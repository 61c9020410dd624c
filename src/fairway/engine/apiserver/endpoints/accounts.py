"""Tokens for ServiceAccounts (the TokenRequest API), and the documents with which others verify them (OpenID Connect).

Follows KEP-1205 (bound tokens) and KEP-1393 (issuer discovery).
"""

import math
import uuid
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission import CREATE, Review
from fairway.engine.apiserver.admission import nodes as node_restriction
from fairway.engine.apiserver.authentication import Tokens
from fairway.engine.apiserver.authentication.claims import Bound, Claims, Reference, signed
from fairway.engine.apiserver.authentication.users import account_name
from fairway.engine.apiserver.endpoints import answers, payloads, queries
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.registry import Kinds, Registry, subject_of
from fairway.engine.apiserver.registry.bodies import Decoded, decode
from fairway.engine.apiserver.resources import Cause
from fairway.engine.apiserver.resources.kind import Kind, nothing
from fairway.engine.apiserver.resources.reviews import AUTHENTICATION
from fairway.engine.apiserver.store import Entry, Key
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Reply, Response

_ORDER = ("kind", "apiVersion", "metadata", "spec", "status")
_SECONDS = 3600
_SECONDS_MIN = 600
_SECONDS_MAX = 1 << 32
_PODS_SECONDS = 3607
"""What the mounted tokens of pods ask for: they live for a year, so that clients that never read them again go on."""
_YEAR_SECONDS = 365 * 24 * 60 * 60

TOKEN_REQUESTS = Kind(
    group=AUTHENTICATION,
    version="v1",
    kind="TokenRequest",
    plural="tokenrequests",
    singular="tokenrequest",
    namespaced=True,
    list_kind="",
    verbs=("create",),
    prepare_create=nothing,
)


class Accounts:
    """Answers calls to `serviceaccounts/<name>/token`."""

    def __init__(self, registry: Registry, tokens: Tokens, clock: Clock) -> None:
        self._registry = registry
        self._store = registry.store
        self._tokens = tokens
        self._clock = clock

    def answer(self, call: Call) -> Reply | Awaitable[Reply] | None:
        """None when it is not about a token. Raises ApiError."""
        if call.target.subresource != "token" or call.kind.plural != "serviceaccounts":
            return None
        if call.verb != "create":
            raise errors.method_not_allowed()
        account = self._registry.get(call.kind, call.namespace, call.target.name)
        decoded = self._request(call, self._registry.kinds)
        request = decoded.obj
        spec = request["spec"]
        now = self._clock.now()
        wanted = int(spec["expirationSeconds"])
        bound = self._bound(call, account, request)
        token = signed(self._tokens.keys.get(), self._claims(bound, spec, math.floor(now.timestamp()), wanted))
        request["status"] = {"token": token, "expirationTimestamp": timestamp(now + timedelta(seconds=wanted))}
        name, namespace = call.target.name, call.namespace
        request["metadata"] |= {"name": name, "namespace": namespace, "creationTimestamp": timestamp(now)}
        return answers.value({key: request[key] for key in _ORDER}, 201, decoded.warnings)

    def _request(self, call: Call, kinds: Kinds) -> Decoded:
        """The request with its defaults. Raises ApiError 400 and 422."""
        options = queries.write_options(call.query, call.user, call.request.header("user-agent"), creates=True)
        body = payloads.read(TOKEN_REQUESTS, call.request, options.field_validation)
        decoded = decode(TOKEN_REQUESTS, kinds.type(TOKEN_REQUESTS), body, options.field_validation)
        request = decoded.obj
        spec = request["spec"] = request.get("spec") or {}
        if spec.get("expirationSeconds") is None:
            spec["expirationSeconds"] = _SECONDS
        spec["audiences"] = spec.get("audiences") or list(self._tokens.audiences)
        spec.setdefault("boundObjectRef", None)
        causes = _check(call, request)
        if causes:
            raise errors.invalid(subject_of(TOKEN_REQUESTS, request["metadata"].get("name") or ""), causes)
        return decoded

    def _claims(self, bound: Bound, spec: Object, now: int, wanted: int) -> Claims:
        lifetime = wanted
        own = tuple(spec["audiences"]) == self._tokens.audiences
        if wanted == _PODS_SECONDS and bound.pod is not None and own:
            lifetime = _YEAR_SECONDS
            bound = msgspec.structs.replace(bound, warn_after=now + wanted)
        return Claims(
            aud=tuple(spec["audiences"]),
            exp=now + lifetime,
            iat=now,
            iss=self._tokens.issuer,
            jti=str(uuid.uuid4()),
            bound=bound,
            nbf=now,
            sub=account_name(bound.namespace, bound.serviceaccount.name),
        )

    def _bound(self, call: Call, account: Entry, request: Object) -> Bound:
        """What the token lives and dies with. Raises ApiError."""
        reference = request["spec"]["boundObjectRef"]
        bound = Bound(call.namespace, serviceaccount=Reference(account.key.name, account.uid))
        found = self._referred(call, reference) if reference else None
        self._admit(call, request, found)
        if found is None:
            return bound
        own = Reference(found.key.name, found.uid)
        match found.key.resource:
            case "pods":
                return msgspec.structs.replace(bound, pod=own, node=self._node_of(found))
            case "secrets":
                return msgspec.structs.replace(bound, secret=own)
        return msgspec.structs.replace(bound, node=own)

    def _referred(self, call: Call, reference: Object) -> Entry:
        kind, name = str(reference.get("kind") or ""), str(reference.get("name") or "")
        resources = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
        if reference.get("apiVersion") != "v1" or kind not in resources:
            group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
            raise errors.bad_request(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        resource = resources[kind]
        entry = self._store.get(Key(resource, "" if kind == "Node" else call.namespace, name))
        if entry is None:
            raise errors.not_found(errors.Subject("", resource, name, kind))
        if kind == "Pod" and (entry.object().get("spec") or {}).get("serviceAccountName") != call.target.name:
            raise errors.bad_request(
                f'cannot bind token for serviceaccount "{call.target.name}" to pod running with different '
                "serviceaccount name."
            )
        if reference.get("uid") and reference["uid"] != entry.uid:
            why = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise errors.conflict(errors.Subject("", kind, name, kind), why)
        return entry

    def _node_of(self, pod: Entry) -> Reference | None:
        name = str((pod.object().get("spec") or {}).get("nodeName") or "")
        node = self._store.get(Key("nodes", "", name)) if name else None
        return Reference(name, node.uid if node is not None else "") if name else None

    def _admit(self, call: Call, request: Object, found: Entry | None) -> None:
        """Node restriction alone looks at token requests; `old` is what the token is bound to."""
        key = Key("serviceaccounts", call.namespace, call.target.name)
        old = found.object() if found is not None else None
        subject = subject_of(call.kind, call.target.name)
        node_restriction.admit(Review(CREATE, key, subject, "token", request, old, call.user, self._store))


class Issuer:
    """`/.well-known/openid-configuration` and `/openid/v1/jwks`."""

    def __init__(self, tokens: Tokens, address: str) -> None:
        self._tokens = tokens
        self._address = address

    def answer(self, path: str) -> Response | None:
        """None for any other path."""
        match path:
            case "/.well-known/openid-configuration":
                return _document(self._configuration(), "application/json")
            case "/openid/v1/jwks":
                return _document({"keys": self._tokens.keys.get().public()}, "application/jwk-set+json")
        return None

    def _configuration(self) -> Object:
        return {
            "issuer": self._tokens.issuer,
            "jwks_uri": f"https://{self._address}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }


def _document(content: Any, media_type: str) -> Response:
    headers = (("Cache-Control", "public, max-age=3600"), ("Content-Type", media_type))
    return Response(200, msgspec.json.encode(content), headers)


def _check(call: Call, request: Object) -> list[Cause]:
    metadata, seconds = request["metadata"], request["spec"]["expirationSeconds"]
    found = []
    for key, value in (("name", call.target.name), ("namespace", call.namespace)):
        said = metadata.get(key)
        if said and said != value:
            found.append(_invalid(f"metadata.{key}", f'"{said}"', f"must match the service account {key} if specified"))
    if seconds < _SECONDS_MIN:
        found.append(_invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
    if seconds > _SECONDS_MAX:
        says = "may not specify a duration larger than 2^32 seconds"
        found.append(_invalid("spec.expirationSeconds", seconds, says))
    return found


def _invalid(field: str, value: object, says: str) -> Cause:
    return Cause("FieldValueInvalid", f"Invalid value: {value}: {says}", field)
