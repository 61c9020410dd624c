"""Every pod runs as a ServiceAccount and gets its token (the ServiceAccount plugin).

Follows the documentation "Configure Service Accounts for Pods" and "Managing Service Accounts".
"""

import secrets
from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, Review
from fairway.engine.apiserver.store import Entry, Key

Object = dict[str, Any]

_PODS = "pods"
_DEFAULT = "default"
_MIRROR = "kubernetes.io/config.mirror"
_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME = "kube-api-access-"
_TOKEN_SECONDS = 3607
"""A number that nobody asks for by hand: the issuer knows it and lets such a token live longer (KEP-1205)."""
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def admit(review: Review) -> None:
    """Give a new pod its account, the account's pull secrets and the token volume. Raises ApiError 403."""
    if review.key.resource != _PODS or review.obj is None:
        return
    if review.operation != CREATE or review.subresource:
        return
    spec = review.obj.setdefault("spec", {})
    if _MIRROR in (review.obj["metadata"].get("annotations") or {}):
        _check_mirror(review, spec)
        return
    name = spec.get("serviceAccountName") or _DEFAULT
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    account = _account(review, name).object()
    if _automounts(account, spec):
        _mount(spec)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(each) for each in account["imagePullSecrets"]]


def _account(review: Review, name: str) -> Entry:
    """The account, also when it is only just on its way to the disk."""
    namespace = review.key.namespace
    entry = review.store.latest(Key("serviceaccounts", namespace, name))
    if entry is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise errors.forbidden(review.subject, why)
    return entry


def _check_mirror(review: Review, spec: Object) -> None:
    """A mirror pod is run by a kubelet from a file: it may not reach into the API."""
    if spec.get("serviceAccountName"):
        raise errors.forbidden(review.subject, "a mirror pod may not reference service accounts")
    for volume in spec.get("volumes") or ():
        if volume.get("secret"):
            raise errors.forbidden(review.subject, "a mirror pod may not reference secrets")
        sources = (volume.get("projected") or {}).get("sources") or ()
        if any(source.get("serviceAccountToken") for source in sources):
            why = "a mirror pod may not use ServiceAccountToken volume projections"
            raise errors.forbidden(review.subject, why)


def _automounts(account: Object, spec: Object) -> bool:
    """The pod's word counts before the account's."""
    for said in (spec.get("automountServiceAccountToken"), account.get("automountServiceAccountToken")):
        if said is not None:
            return bool(said)
    return True


def _mount(spec: Object) -> None:
    """Mount the token where no container has something of its own."""
    known = [volume["name"] for volume in spec.get("volumes") or () if str(volume.get("name")).startswith(_VOLUME)]
    name = known[0] if known else _VOLUME + "".join(secrets.choice(_ALPHABET) for _ in range(5))
    needed = False
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.get("volumeMounts") or []
        if not any(mount.get("mountPath") == _MOUNT_PATH for mount in mounts):
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": _MOUNT_PATH}]
            needed = True
    if needed and not known:
        spec["volumes"] = [*(spec.get("volumes") or ()), {"name": name, "projected": _projected()}]


def _projected() -> Object:
    """Token, the cluster's CA, and the namespace: what clients inside of pods look for."""
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ],
        "defaultMode": 0o644,
    }
