"""The kinds whose objects can be owned, counted and deleted by controllers that treat all kinds alike."""

from fairway.kube.api.resource import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    EVENTS,
    INGRESS_CLASSES,
    INGRESSES,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STORAGE_CLASSES,
    Resource,
)

_RBAC = "rbac.authorization.k8s.io"

KINDS = (
    CONFIG_MAPS,
    ENDPOINTS,
    Resource("", "v1", "limitranges", "LimitRange"),
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    PODS,
    Resource("", "v1", "resourcequotas", "ResourceQuota"),
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    CONTROLLER_REVISIONS,
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    DEPLOYMENTS,
    REPLICA_SETS,
    Resource("apps", "v1", "statefulsets", "StatefulSet"),
    Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    Resource("batch", "v1", "cronjobs", "CronJob"),
    Resource("batch", "v1", "jobs", "Job"),
    LEASES,
    ENDPOINT_SLICES,
    INGRESS_CLASSES,
    INGRESSES,
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Resource(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
    Resource(_RBAC, "v1", "clusterroles", "ClusterRole", namespaced=False),
    Resource(_RBAC, "v1", "rolebindings", "RoleBinding"),
    Resource(_RBAC, "v1", "roles", "Role"),
    Resource("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False),
    STORAGE_CLASSES,
)
"""Events are left out: they own nothing, nothing owns them, and their own controller ends them."""

NAMESPACED = (*(kind for kind in KINDS if kind.namespaced), EVENTS)
"""Everything that a namespace can contain."""
