"""The values that fields of the built-in kinds may have: facts that the compiled source of types does not carry.

By definition and field; the values are those of an item where the field is a list.  Source: the Go constants of the
types marked `+enum` in k8s.io/api, as their reference pages list them; sorted, as upstream publishes them.
"""

from collections.abc import Mapping
from typing import Final

Values = tuple[str, ...]

_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_PULL: Final = ("Always", "IfNotPresent", "Never")
_EFFECTS: Final = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_HONOR: Final = ("Honor", "Ignore")
_CLUSTER_LOCAL: Final = ("Cluster", "Local")
_ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES: Final = ("Block", "Filesystem")
_RECLAIM: Final = ("Delete", "Recycle", "Retain")
_FAIL: Final = ("Fail", "Ignore")
_MATCH: Final = ("Equivalent", "Exact")
_REINVOKE: Final = ("IfNeeded", "Never")
_OPERATIONS: Final = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_PREEMPTION: Final = ("Never", "PreemptLowerPriority")
_CONTAINER: Final[Mapping[str, Values]] = {
    "imagePullPolicy": _PULL,
    "terminationMessagePolicy": ("FallbackToLogsOnError", "File"),
}
_CORE: Final = "io.k8s.api.core.v1."
_ADMISSION: Final = "io.k8s.api.admissionregistration.v1."
_WEBHOOK: Final[Mapping[str, Values]] = {
    "failurePolicy": _FAIL,
    "matchPolicy": _MATCH,
    "sideEffects": ("None", "NoneOnDryRun", "Some", "Unknown"),
}

ENUMS: Final[Mapping[str, Mapping[str, Values]]] = {
    _ADMISSION + "MutatingWebhook": {**_WEBHOOK, "reinvocationPolicy": _REINVOKE},
    _ADMISSION + "RuleWithOperations": {"operations": _OPERATIONS, "scope": _SCOPES},
    _ADMISSION + "NamedRuleWithOperations": {"operations": _OPERATIONS, "scope": _SCOPES},
    _ADMISSION + "ValidatingAdmissionPolicySpec": {"failurePolicy": _FAIL},
    _ADMISSION + "ValidatingWebhook": _WEBHOOK,
    "io.k8s.api.apps.v1.DaemonSetUpdateStrategy": {"type": ("OnDelete", "RollingUpdate")},
    "io.k8s.api.apps.v1.DeploymentStrategy": {"type": ("Recreate", "RollingUpdate")},
    "io.k8s.api.apps.v1.StatefulSetSpec": {"podManagementPolicy": ("OrderedReady", "Parallel")},
    "io.k8s.api.apps.v1.StatefulSetUpdateStrategy": {"type": ("OnDelete", "RollingUpdate")},
    "io.k8s.api.batch.v1.CronJobSpec": {"concurrencyPolicy": ("Allow", "Forbid", "Replace")},
    "io.k8s.api.batch.v1.JobSpec": {
        "completionMode": ("Indexed", "NonIndexed"),
        "podReplacementPolicy": ("Failed", "TerminatingOrFailed"),
    },
    "io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement": {"operator": ("In", "NotIn")},
    "io.k8s.api.batch.v1.PodFailurePolicyRule": {"action": ("Count", "FailIndex", "FailJob", "Ignore")},
    _CORE + "AppArmorProfile": {"type": ("Localhost", "RuntimeDefault", "Unconfined")},
    _CORE + "Container": _CONTAINER,
    _CORE + "ContainerPort": {"protocol": _PROTOCOLS},
    _CORE + "EndpointPort": {"protocol": _PROTOCOLS},
    _CORE + "EphemeralContainer": _CONTAINER,
    _CORE + "HTTPGetAction": {"scheme": ("HTTP", "HTTPS")},
    _CORE + "HostPathVolumeSource": {
        "type": (
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ),
    },
    _CORE + "ImageVolumeSource": {"pullPolicy": _PULL},
    _CORE + "NamespaceStatus": {"phase": ("Active", "Terminating")},
    _CORE + "NodeSelectorRequirement": {"operator": ("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn")},
    _CORE + "PersistentVolumeClaimSpec": {"accessModes": _ACCESS_MODES, "volumeMode": _VOLUME_MODES},
    _CORE + "PersistentVolumeClaimStatus": {"phase": ("Bound", "Lost", "Pending")},
    _CORE + "PersistentVolumeSpec": {
        "accessModes": _ACCESS_MODES,
        "persistentVolumeReclaimPolicy": _RECLAIM,
        "volumeMode": _VOLUME_MODES,
    },
    _CORE + "PersistentVolumeStatus": {"phase": ("Available", "Bound", "Failed", "Pending", "Released")},
    _CORE + "PodSecurityContext": {
        "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
        "supplementalGroupsPolicy": ("Merge", "Strict"),
    },
    _CORE + "PodSpec": {
        "dnsPolicy": ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
        "preemptionPolicy": _PREEMPTION,
        "restartPolicy": ("Always", "Never", "OnFailure"),
    },
    _CORE + "PodStatus": {
        "phase": ("Failed", "Pending", "Running", "Succeeded", "Unknown"),
        "qosClass": ("BestEffort", "Burstable", "Guaranteed"),
    },
    _CORE + "PortStatus": {"protocol": _PROTOCOLS},
    _CORE + "ResourceQuotaSpec": {
        "scopes": (
            "BestEffort",
            "CrossNamespacePodAffinity",
            "NotBestEffort",
            "NotTerminating",
            "PriorityClass",
            "Terminating",
            "VolumeAttributesClass",
        ),
    },
    _CORE + "ScopedResourceSelectorRequirement": {"operator": ("DoesNotExist", "Exists", "In", "NotIn")},
    _CORE + "SeccompProfile": {"type": ("Localhost", "RuntimeDefault", "Unconfined")},
    _CORE + "SecurityContext": {"procMount": ("Default", "Unmasked")},
    _CORE + "ServicePort": {"protocol": _PROTOCOLS},
    _CORE + "ServiceSpec": {
        "externalTrafficPolicy": _CLUSTER_LOCAL,
        "internalTrafficPolicy": _CLUSTER_LOCAL,
        "ipFamilies": ("", "IPv4", "IPv6"),
        "ipFamilyPolicy": ("PreferDualStack", "RequireDualStack", "SingleStack"),
        "sessionAffinity": ("ClientIP", "None"),
        "type": ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"),
    },
    _CORE + "Taint": {"effect": _EFFECTS},
    _CORE + "Toleration": {"effect": _EFFECTS, "operator": ("Equal", "Exists", "Gt", "Lt")},
    _CORE + "TopologySpreadConstraint": {
        "nodeAffinityPolicy": _HONOR,
        "nodeTaintsPolicy": _HONOR,
        "whenUnsatisfiable": ("DoNotSchedule", "ScheduleAnyway"),
    },
    "io.k8s.api.discovery.v1.EndpointPort": {"protocol": _PROTOCOLS},
    "io.k8s.api.discovery.v1.EndpointSlice": {"addressType": ("FQDN", "IPv4", "IPv6")},
    "io.k8s.api.networking.v1.HTTPIngressPath": {"pathType": ("Exact", "ImplementationSpecific", "Prefix")},
    "io.k8s.api.networking.v1.NetworkPolicyPort": {"protocol": _PROTOCOLS},
    "io.k8s.api.networking.v1.NetworkPolicySpec": {"policyTypes": ("Egress", "Ingress")},
    "io.k8s.api.policy.v1.PodDisruptionBudgetSpec": {
        "unhealthyPodEvictionPolicy": ("AlwaysAllow", "IfHealthyBudget"),
    },
    "io.k8s.api.scheduling.v1.PriorityClass": {"preemptionPolicy": _PREEMPTION},
    "io.k8s.api.storage.v1.StorageClass": {
        "reclaimPolicy": _RECLAIM,
        "volumeBindingMode": ("Immediate", "WaitForFirstConsumer"),
    },
}
