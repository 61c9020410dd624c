"""The roles and bindings that every cluster has, as data: those of upstream's documentation of RBAC.  Pure."""

from typing import Any

import msgspec

from fairway.engine.apiserver.authorization.rules import EVERYTHING, Rule

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
BOOTSTRAPPING = "kubernetes.io/bootstrapping"
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"

_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_CHANGE = ("create", "patch", "update")
_APPS = "apps"
_CSR = "certificates.k8s.io"
_AUTHENTICATED, _UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"


class Role(msgspec.Struct, frozen=True):
    """A ClusterRole. `into` names the role it is aggregated into, `collects` says that it is made of others."""

    name: str
    rules: tuple[Rule, ...] = ()
    into: str = ""
    collects: bool = False

    def raw(self) -> dict[str, Any]:
        labels = {BOOTSTRAPPING: "rbac-defaults", **({f"{_AGGREGATE}{self.into}": "true"} if self.into else {})}
        metadata = {"name": self.name, "labels": labels, "annotations": {AUTOUPDATE: "true"}}
        made: dict[str, Any] = {"kind": "ClusterRole", "apiVersion": f"{GROUP}/v1", "metadata": metadata}
        if self.collects:
            selector = {"matchLabels": {f"{_AGGREGATE}{self.name}": "true"}}
            return {**made, "aggregationRule": {"clusterRoleSelectors": [selector]}, "rules": None}
        return {**made, "rules": [rule.raw() for rule in self.rules]}


class RoleGiven(msgspec.Struct, frozen=True):
    """A ClusterRoleBinding to the role of the same name; subjects are (kind, name) or (kind, name, namespace)."""

    name: str
    subjects: tuple[tuple[str, ...], ...] = ()

    def raw(self) -> dict[str, Any]:
        labels, annotations = {BOOTSTRAPPING: "rbac-defaults"}, {AUTOUPDATE: "true"}
        return {
            "kind": "ClusterRoleBinding",
            "apiVersion": f"{GROUP}/v1",
            "metadata": {"name": self.name, "labels": labels, "annotations": annotations},
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": self.name},
            "subjects": [_subject(*subject) for subject in self.subjects],
        }


def _subject(kind: str, name: str, namespace: str = "") -> dict[str, str]:
    if kind == "ServiceAccount":
        return {"kind": kind, "name": name, "namespace": namespace}
    return {"apiGroup": GROUP, "kind": kind, "name": name}


def _on(groups: str, resources: str, *verbs: str, names: tuple[str, ...] = ()) -> Rule:
    """Groups and resources separated by blanks; the core group is `core`."""
    named = tuple("" if group == "core" else group for group in groups.split())
    return Rule(tuple(verbs), named, tuple(resources.split()), names)


def _urls(paths: str) -> Rule:
    return Rule(("get",), urls=tuple(paths.split()))


_EVENTS = _on("core events.k8s.io", "events", *_CHANGE)
_REVIEWS = (
    _on("authentication.k8s.io", "tokenreviews", "create"),
    _on("authorization.k8s.io", "subjectaccessreviews", "create"),
)
_SCALED = "deployments deployments/scale replicasets replicasets/scale"

_VIEW = (
    _on(
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
        *_READ,
    ),
    _on(
        "core",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
        *_READ,
    ),
    _on("core", "namespaces", *_READ),
    _on("discovery.k8s.io", "endpointslices", *_READ),
    _on(
        _APPS,
        f"controllerrevisions daemonsets daemonsets/status {_SCALED} deployments/status replicasets/status "
        "statefulsets statefulsets/scale statefulsets/status",
        *_READ,
    ),
    _on("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", *_READ),
    _on("batch", "cronjobs cronjobs/status jobs jobs/status", *_READ),
    _on(
        "extensions",
        f"daemonsets daemonsets/status {_SCALED} deployments/status ingresses ingresses/status networkpolicies "
        "replicasets/status replicationcontrollers/scale",
        *_READ,
    ),
    _on("policy", "poddisruptionbudgets poddisruptionbudgets/status", *_READ),
    _on("networking.k8s.io", "ingresses ingresses/status networkpolicies", *_READ),
)
_STREAMS = "pods/attach pods/exec pods/portforward pods/proxy"
_EDIT = (
    _on("core", f"{_STREAMS} secrets services/proxy", *_READ),
    _on("core", "serviceaccounts", "impersonate"),
    _on("core", f"pods {_STREAMS}", *_WRITE),
    _on("core", "pods/eviction", "create"),
    _on(
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
        *_WRITE,
    ),
    _on("core", "serviceaccounts/token", "create"),
    _on(_APPS, f"daemonsets {_SCALED} deployments/rollback statefulsets statefulsets/scale", *_WRITE),
    _on("autoscaling", "horizontalpodautoscalers", *_WRITE),
    _on("batch", "cronjobs jobs", *_WRITE),
    _on(
        "extensions",
        f"daemonsets {_SCALED} deployments/rollback ingresses networkpolicies replicationcontrollers/scale",
        *_WRITE,
    ),
    _on("policy", "poddisruptionbudgets", *_WRITE),
    _on("networking.k8s.io", "ingresses networkpolicies", *_WRITE),
    _on("coordination.k8s.io", "leases", *_READ, *_WRITE),
)
_ADMIN = (
    _on("authorization.k8s.io", "localsubjectaccessreviews", "create"),
    _on(GROUP, "rolebindings roles", *_READ, *_WRITE),
)
NODE_RULES = (
    _on("authentication.k8s.io", "tokenreviews", "create"),
    _on("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
    _on("core", "services", *_READ),
    _on("core", "nodes", "create", *_READ),
    _on("core", "nodes/status", "patch", "update"),
    _on("core", "nodes", "patch", "update"),
    _on("core events.k8s.io", "events", *_CHANGE),
    _on("core", "pods", *_READ),
    _on("core", "pods", "create", "delete"),
    _on("core", "pods/status", "patch", "update"),
    _on("core", "pods/eviction", "create"),
    _on("core", "configmaps secrets", *_READ),
    _on("core", "persistentvolumeclaims persistentvolumes", "get"),
    _on("core", "endpoints", "get"),
    _on(_CSR, "certificatesigningrequests", "create", *_READ),
    _on("coordination.k8s.io", "leases", "create", "delete", "get", "patch", "update"),
    _on("storage.k8s.io", "volumeattachments", "get"),
    _on("core", "serviceaccounts/token", "create"),
    _on("core", "persistentvolumeclaims/status", "get", "patch", "update"),
    _on("storage.k8s.io", "csidrivers", *_READ),
    _on("storage.k8s.io", "csinodes", "create", "delete", "get", "patch", "update"),
    _on("node.k8s.io", "runtimeclasses", *_READ),
)


def _leader(name: str) -> tuple[Rule, ...]:
    """What a component with a leader election needs."""
    lease = _on("coordination.k8s.io", "leases", "get", "update", names=(name,))
    return _EVENTS, _on("coordination.k8s.io", "leases", "create"), lease


def _approver(signer: str) -> Role:
    rule = _on(_CSR, "signers", "approve", names=(f"kubernetes.io/{signer}",))
    return Role(f"system:{_CSR}:{signer}-approver", (rule,))


ROLES = (
    Role("cluster-admin", EVERYTHING),
    Role("admin", collects=True),
    Role("edit", collects=True, into="admin"),
    Role("view", collects=True, into="edit"),
    Role("system:aggregate-to-admin", _ADMIN, into="admin"),
    Role("system:aggregate-to-edit", _EDIT, into="edit"),
    Role("system:aggregate-to-view", _VIEW, into="view"),
    Role("system:auth-delegator", _REVIEWS),
    Role(
        "system:basic-user",
        (
            _on("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create"),
            _on("authentication.k8s.io", "selfsubjectreviews", "create"),
        ),
    ),
    Role(
        f"system:{_CSR}:certificatesigningrequests:nodeclient",
        (_on(_CSR, "certificatesigningrequests/nodeclient", "create"),),
    ),
    Role(
        f"system:{_CSR}:certificatesigningrequests:selfnodeclient",
        (_on(_CSR, "certificatesigningrequests/selfnodeclient", "create"),),
    ),
    _approver("kube-apiserver-client"),
    _approver("kube-apiserver-client-kubelet"),
    _approver("kubelet-serving"),
    _approver("legacy-unknown"),
    Role(
        "system:discovery",
        (_urls("/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"),),
    ),
    Role(
        "system:heapster",
        (_on("core", "events namespaces nodes pods", *_READ), _on("extensions", "deployments", *_READ)),
    ),
    Role("system:kube-aggregator", (_on("core", "endpoints services", *_READ),)),
    Role(
        "system:kube-controller-manager",
        (
            *_leader("kube-controller-manager"),
            _on("core", "secrets serviceaccounts", "create"),
            _on("core", "secrets", "delete"),
            _on("core", "configmaps namespaces secrets serviceaccounts", "get"),
            _on("core", "secrets serviceaccounts", "update"),
            *_REVIEWS,
            _on("*", "*", "list", "watch"),
            _on("core", "serviceaccounts/token", "create"),
        ),
    ),
    Role("system:kube-dns", (_on("core", "endpoints services", "list", "watch"),)),
    Role(
        "system:kube-scheduler",
        (
            *_leader("kube-scheduler"),
            _on("core", "nodes", *_READ),
            _on("core", "pods", "delete", *_READ),
            _on("core", "bindings pods/binding", "create"),
            _on("core", "pods/status", "patch", "update"),
            _on("core", "replicationcontrollers services", *_READ),
            _on("apps extensions", "replicasets", *_READ),
            _on(_APPS, "statefulsets", *_READ),
            _on("policy", "poddisruptionbudgets", *_READ),
            _on("core", "persistentvolumeclaims persistentvolumes", *_READ),
            *_REVIEWS,
            _on("storage.k8s.io", "csinodes", *_READ),
            _on("core", "namespaces", *_READ),
            _on("storage.k8s.io", "csidrivers", *_READ),
            _on("storage.k8s.io", "csistoragecapacities", *_READ),
        ),
    ),
    Role(
        "system:kubelet-api-admin",
        (
            _on("core", "nodes", *_READ),
            _on("core", "nodes", "proxy"),
            _on("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", "*"),
        ),
    ),
    Role(
        "system:monitoring",
        (_urls("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),),
    ),
    Role("system:node", NODE_RULES),
    Role("system:node-bootstrapper", (_on(_CSR, "certificatesigningrequests", "create", *_READ),)),
    Role(
        "system:node-problem-detector",
        (_on("core", "nodes", "get"), _on("core", "nodes/status", "patch"), _EVENTS),
    ),
    Role(
        "system:node-proxier",
        (
            _on("core", "endpoints services", "list", "watch"),
            _on("core", "nodes", *_READ),
            _EVENTS,
            _on("discovery.k8s.io", "endpointslices", "list", "watch"),
        ),
    ),
    Role(
        "system:persistent-volume-provisioner",
        (
            _on("core", "persistentvolumes", "create", "delete", *_READ),
            _on("core", "persistentvolumeclaims", "update", *_READ),
            _on("storage.k8s.io", "storageclasses", *_READ),
            _on("core", "events", "watch"),
            _EVENTS,
        ),
    ),
    Role("system:public-info-viewer", (_urls("/healthz /livez /readyz /version /version/"),)),
    Role(
        "system:service-account-issuer-discovery",
        (_urls("/.well-known/openid-configuration /openid/v1/jwks"),),
    ),
    Role(
        "system:volume-scheduler",
        (
            _on("core", "persistentvolumes", "patch", "update", *_READ),
            _on("storage.k8s.io", "storageclasses", *_READ),
            _on("core", "persistentvolumeclaims", "patch", "update", *_READ),
        ),
    ),
)

BINDINGS = (
    RoleGiven("cluster-admin", (("Group", "system:masters"),)),
    RoleGiven("system:basic-user", (("Group", _AUTHENTICATED),)),
    RoleGiven("system:discovery", (("Group", _AUTHENTICATED),)),
    RoleGiven("system:kube-controller-manager", (("User", "system:kube-controller-manager"),)),
    RoleGiven("system:kube-dns", (("ServiceAccount", "kube-dns", "kube-system"),)),
    RoleGiven("system:kube-scheduler", (("User", "system:kube-scheduler"),)),
    RoleGiven("system:monitoring", (("Group", "system:monitoring"),)),
    RoleGiven("system:node"),
    RoleGiven("system:node-proxier", (("User", "system:kube-proxy"),)),
    RoleGiven("system:public-info-viewer", (("Group", _AUTHENTICATED), ("Group", _UNAUTHENTICATED))),
    RoleGiven("system:service-account-issuer-discovery", (("Group", "system:serviceaccounts"),)),
    RoleGiven("system:volume-scheduler", (("User", "system:kube-scheduler"),)),
)
