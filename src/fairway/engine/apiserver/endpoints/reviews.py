"""Who am I, who is this, may I, may they: the reviews of authentication.k8s.io and authorization.k8s.io."""

from collections.abc import Mapping
from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.authentication import InvalidToken, Tokens, User
from fairway.engine.apiserver.authorization import Attributes, Authority
from fairway.engine.apiserver.endpoints import answers, forms, payloads, queries
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.registry import Kinds, subject_of
from fairway.engine.apiserver.registry.bodies import decode
from fairway.engine.apiserver.resources import Cause
from fairway.engine.apiserver.resources.reviews import REVIEWS
from fairway.engine.apiserver.store.entries import Object
from fairway.toolkit.http_messages import Response

_KINDS = frozenset((kind.group, kind.kind) for kind in REVIEWS)
_ORDER = ("kind", "apiVersion", "metadata", "spec", "status")
_MEDIA_TYPES = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


class Reviews:
    """Answers calls to create-only kinds."""

    def __init__(self, kinds: Kinds, authority: Authority, tokens: Tokens) -> None:
        self._kinds = kinds
        self._authority = authority
        self._tokens = tokens
        self._status = {
            "SelfSubjectReview": self._self,
            "TokenReview": self._token,
            "LocalSubjectAccessReview": self._local_access,
            "SelfSubjectAccessReview": self._own_access,
            "SelfSubjectRulesReview": self._rules,
            "SubjectAccessReview": self._access,
        }

    def answer(self, call: Call) -> Response | None:
        """None when the kind is not one of those. Raises ApiError."""
        if call.kind.list_kind or (call.kind.group, call.kind.kind) not in _KINDS:
            return None
        if call.verb != "create" or call.target.name:
            raise errors.method_not_allowed()
        if forms.negotiate(call.request.header("accept"), "").style != forms.OBJECT:
            raise errors.not_acceptable(_MEDIA_TYPES)
        options = queries.write_options(call.query, call.user, call.request.header("user-agent"), creates=True)
        body = payloads.read(call.kind, call.request, options.field_validation)
        decoded = decode(call.kind, self._kinds.type(call.kind), body, options.field_validation)
        obj = decoded.obj
        obj["metadata"].setdefault("creationTimestamp", None)
        obj["status"] = self._status[call.kind.kind](call, obj)
        response = answers.value({key: obj[key] for key in _ORDER if key in obj}, 201)
        return answers.json(response.body, 201, decoded.warnings) if decoded.warnings else response

    # --- who

    def _self(self, call: Call, obj: Object) -> Object:
        return {"userInfo": call.user.info()}

    def _token(self, call: Call, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        token = spec.get("token") or ""
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = tuple(spec.get("audiences") or ()) or self._tokens.audiences
        try:
            verified = self._tokens.check(token, audiences)
        except InvalidToken as error:
            return {"user": {}, "error": str(error)}
        return {"authenticated": True, "user": verified.user.info(), "audiences": list(verified.audiences)}

    # --- may

    def _own_access(self, call: Call, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        self._refuse(call, _which(spec))
        return self._decided(_attributes(call.user, spec))

    def _access(self, call: Call, obj: Object) -> Object:
        spec = obj.get("spec") or {}
        self._refuse(call, _which(spec) + _who(spec))
        return self._decided(_attributes(_user(spec), spec))

    def _local_access(self, call: Call, obj: Object) -> Object:
        spec, namespace = obj.get("spec") or {}, call.namespace
        if not namespace:
            raise errors.bad_request("namespace is required on this type: localsubjectaccessreviews")
        if (obj["metadata"].get("namespace") or namespace) != namespace:
            raise errors.bad_request(f"spec.resourceAttributes.namespace must match namespace: {namespace}")
        self._refuse(call, _which(spec) + _who(spec) + _local(spec, namespace))
        return self._decided(_attributes(_user(spec), spec))

    def _rules(self, call: Call, obj: Object) -> Object:
        namespace = (obj.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        rules = [rule.raw() for rule in self._authority.rules(call.user, namespace)]
        return {
            "resourceRules": [rule for rule in rules if "nonResourceURLs" not in rule],
            "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
            "incomplete": False,
        }

    def _decided(self, attributes: Attributes) -> Object:
        decision = self._authority.decide(attributes)
        return {"allowed": bool(decision.allowed), **({"reason": decision.reason} if decision.reason else {})}

    def _refuse(self, call: Call, causes: list[Cause]) -> None:
        if causes:
            raise errors.invalid(subject_of(call.kind), causes)


def _attributes(user: User, spec: Object) -> Attributes:
    about = spec.get("resourceAttributes")
    if about is None:
        url = spec.get("nonResourceAttributes") or {}
        return Attributes(user, str(url.get("verb") or ""), str(url.get("path") or ""))
    keys = ("group", "version", "resource", "subresource", "namespace", "name")
    return Attributes(user, str(about.get("verb") or ""), "", *(str(about.get(key) or "") for key in keys))


def _user(spec: Mapping[str, Any]) -> User:
    extra = tuple(sorted((key.lower(), tuple(values or ())) for key, values in (spec.get("extra") or {}).items()))
    return User(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra)


def _which(spec: Object) -> list[Cause]:
    resource, url = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and url is not None:
        says = "cannot be specified in combination with resourceAttributes"
        return [_invalid("spec.nonResourceAttributes", url, says)]
    if resource is None and url is None:
        says = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [_invalid("spec.resourceAttributes", None, says)]
    return []


def _who(spec: Object) -> list[Cause]:
    if spec.get("user") or spec.get("groups"):
        return []
    return [_invalid("spec.user", "", "at least one of user or group must be specified")]


def _local(spec: Object, namespace: str) -> list[Cause]:
    if spec.get("nonResourceAttributes") is not None:
        return [_invalid("spec.nonResourceAttributes", "", "disallowed on this kind of request")]
    wanted = (spec.get("resourceAttributes") or {}).get("namespace") or ""
    if wanted == namespace:
        return []
    return [_invalid("spec.resourceAttributes.namespace", wanted, "must match metadata.namespace")]


def _invalid(field: str, value: object, says: str) -> Cause:
    shown = "null" if value is None else f'"{value}"' if isinstance(value, str) else str(value)
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {says}", field)
