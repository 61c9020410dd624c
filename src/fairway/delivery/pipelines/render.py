"""The Kubernetes objects of a run: a Job and a Secret for each step, and the network rules around them.

A pod has, in this order: the platform's container `source`, services, the user's container `script`, and at last the
platform's `upload`. Only the platform's containers see the run's token. When the App grants its jobs access to the
namespace, the platform's container `cluster` (apigate.py) has a token of the API, and the script goes through it.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, collapse_addresses, ip_network
from typing import Any

import msgspec

from fairway.delivery.kinds.apps import Build, Variable
from fairway.delivery.kinds.resources import APP_LABEL, GROUP, MANAGED_BY, MANAGED_BY_LABEL, RUN_LABEL, VERSION
from fairway.delivery.pipelines import render_box
from fairway.delivery.pipelines.ir import Job, Service
from fairway.delivery.pipelines.names import (
    ATTEMPT_ANNOTATION,
    CLUSTER,
    NETWORK_LABEL,
    SCRIPT,
    SOURCE,
    STEP_ANNOTATION,
    UPLOAD,
    cache_name,
    step_name,
)
from fairway.delivery.pipelines.variables import WORKSPACE
from fairway.kube.api.noun import encode

Raw = dict[str, Any]
SERVICE_ACCOUNT = "fairway-pipelines"
POLICY = "fairway-builds"
GRACE_SECONDS = 5
_TOKEN = "/fairway/token"
_CLUSTER, _CHANGES, _ACCOUNT = "/fairway/cluster", "/fairway/changes", "/fairway/account"
_COMMANDS = "/fairway/script"
_TOOLBOX_LIMITS = {"cpu": "1", "memory": "512Mi"}
_REQUESTS = {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "0"}
"""Of disk nothing is reserved: left out, it would be as much as the limit."""
_OF_SERVICES = {"cpu": "50m", "memory": "64Mi"}
_DNS_PODS: Raw = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
    "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
}
_WAIT = """while [ ! -e "$KUBECONFIG" ]; do sleep 0.1 2>/dev/null || sleep 1; done
"""
_START = """cd "$CI_PROJECT_DIR" || exit 1
shell=sh; command -v bash >/dev/null 2>&1 && shell=bash
"$shell" -e /fairway/script/main; code=$?
if [ -s /fairway/script/after ]; then
  CI_JOB_STATUS=$([ "$code" = 0 ] && echo success || echo failed) "$shell" /fairway/script/after
fi
exit "$code"
"""


class Place(msgspec.Struct, frozen=True):
    """Where a run works: its object, and what the platform is reached at."""

    namespace: str
    app: str
    run: str
    uid: str
    folder: str
    """The app's folder in a container."""
    endpoint_url: str
    toolbox_image: str
    program: str
    """What the platform's containers run: the text of toolbox.py."""
    gate: str = ""
    """The same for the container between a job and the API: the text of apigate.py."""
    pull_secret: str = ""
    workspace_limit: str = "8Gi"


class Network(msgspec.Struct, frozen=True):
    """What is to be out of reach of builds, and the few addresses inside it that are not."""

    endpoint_address: str
    endpoint_port: int
    dns_addresses: tuple[str, ...]
    cluster_networks: tuple[str, ...]


def job(place: Place, step: Job, build: Build, name: str, attempt: int) -> Raw:
    """The Kubernetes Job of one attempt of a step. A failed pod is not repeated: another attempt is another Job."""
    labels = {**_labels(place), NETWORK_LABEL: reach(step, build)}
    annotations = {STEP_ANNOTATION: step.name, ATTEMPT_ANNOTATION: str(attempt)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**_meta(place, name), "annotations": annotations},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": step.timeout_seconds or build.timeout_seconds,
            "ttlSecondsAfterFinished": 3600,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": _pod(place, step, build, name),
            },
        },
    }


def secret(place: Place, step: Job, name: str, token: str) -> Raw:
    """The script and the run's token; different containers see different keys of it."""
    texts = {"main": script(step.script), "after": script(step.after_script), "token": token}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _meta(place, name),
        "type": "Opaque",
        "immutable": True,
        "stringData": texts,
    }


def pipeline(place: Place, name: str, key: str, text: str) -> Raw:
    """The ConfigMap with what a run does."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _meta(place, name),
        "immutable": True,
        "data": {key: text},
    }


def script(commands: Sequence[str]) -> str:
    """The commands, each announced before it runs."""
    return "".join(f"printf '%s\\n' {shlex.quote('$ ' + _shown(command))}\n{command}\n" for command in commands)


def network_policy(namespace: str, network: Network, reach: str) -> Raw:
    """Nobody reaches a build; a build reaches DNS, the delivery endpoint and what is outside of the cluster.

    Jobs with access to the cluster may reach everything else too. Where `reach` is none, what is left is the delivery
    endpoint, which the platform's containers in the same pod need, and which answers nobody without their token.
    """
    dns: list[Raw] = [{"ipBlock": {"cidr": f"{address}/32"}} for address in network.dns_addresses]
    dns.append(_DNS_PODS)  # most network plugins look at a packet after the Service's address has been replaced
    endpoint = [{"ipBlock": {"cidr": f"{network.endpoint_address}/32"}}]
    outside = {"cidr": "0.0.0.0/0", "except": sorted({*network.cluster_networks, "169.254.0.0/16"})}
    egress: list[Raw] = [{}]
    if reach == "none":
        egress = [{"to": endpoint, "ports": [{"protocol": "TCP", "port": network.endpoint_port}]}]
    elif reach != "cluster":
        egress = [
            {"to": dns, "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]},
            {"to": endpoint, "ports": [{"protocol": "TCP", "port": network.endpoint_port}]},
            {"to": [{"ipBlock": outside}]},
        ]
    name = POLICY if reach == "build" else f"{POLICY}-{reach}"
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}},
        "spec": {
            "podSelector": {"matchLabels": {NETWORK_LABEL: reach}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [],
            "egress": egress,
        },
    }


def collapsed(networks: Sequence[str]) -> tuple[str, ...]:
    """IPv4 networks with none inside another, which is how an ipBlock takes them."""
    parsed = (ip_network(one) for one in networks)
    four = (one for one in parsed if isinstance(one, IPv4Network))
    return tuple(str(one) for one in collapse_addresses(four))


def cluster_access(namespace: str) -> tuple[Raw, Raw]:
    """The ServiceAccount of jobs that may change the namespace's objects, and what binds it to the role `edit`."""
    meta = {"name": SERVICE_ACCOUNT, "namespace": namespace, "labels": {MANAGED_BY_LABEL: MANAGED_BY}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta}
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        "subjects": [{"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}],
    }
    return account, binding


def owner(place: Place) -> Raw:
    """The reference that lets what a run made go with it."""
    version = f"{GROUP}/{VERSION}"
    return {"apiVersion": version, "kind": "PipelineRun", "name": place.run, "uid": place.uid, "controller": True}


def reach(step: Job, build: Build) -> str:
    """Which of the rules of the network hold for a job."""
    if step.box is not None and not step.box.has_network:
        return "none"
    return "cluster" if in_cluster(step, build) else "build"


def in_cluster(step: Job, build: Build) -> bool:
    """Whether a job may change objects of the App's namespace."""
    return step.make is None and step.cluster and build.cluster_access == "namespace"


def _labels(place: Place) -> dict[str, str]:
    return {APP_LABEL: place.app, RUN_LABEL: place.run, MANAGED_BY_LABEL: MANAGED_BY}


def _meta(place: Place, name: str) -> Raw:
    return {
        "name": name,
        "namespace": place.namespace,
        "labels": _labels(place),
        "ownerReferences": [owner(place)],
    }


def _pod(place: Place, step: Job, build: Build, name: str) -> Raw:
    cluster = in_cluster(step, build)
    aliases = [alias for service in step.services for alias in service.aliases]
    pod: Raw = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "initContainers": [
            _platform(place, step, build, SOURCE),
            *((_gate(place, step, build),) if cluster else ()),
            *(_service(service, number) for number, service in enumerate(step.services)),
            render_box.container(step, build, _REQUESTS) if step.box else _script(step, build),
        ],
        "containers": [_upload(place, step, build, cluster)],
        "volumes": [
            {"name": "workspace", "emptyDir": {"sizeLimit": place.workspace_limit}},
            {"name": "token", "secret": {"secretName": name, "items": [{"key": "token", "path": "token"}]}},
            *(render_box.volumes(step.box) if step.box else [_scripts(name)]),
        ],
    }
    if place.pull_secret:
        pod["imagePullSecrets"] = [{"name": place.pull_secret}]
    if cluster:
        pod["serviceAccountName"] = SERVICE_ACCOUNT
        pod["volumes"] = [*pod["volumes"], *_gate_volumes()]
    if aliases:
        pod["hostAliases"] = [{"ip": "127.0.0.1", "hostnames": aliases}]
    return pod


def _scripts(name: str) -> Raw:
    return {"name": "script", "secret": {"secretName": name, "items": [_item("main"), _item("after")]}}


def _item(key: str) -> Raw:
    return {"key": key, "path": key}


def _platform(place: Place, step: Job, build: Build, name: str) -> Raw:
    """A container of the platform: it runs the toolbox program on a task.

    The kubelet adds up the disk limits of a pod's containers, of which `upload` is the only one that is no init
    container: so its limit is the one of the whole pod, volumes and init containers included.
    """
    return {
        "name": name,
        "image": place.toolbox_image,
        "imagePullPolicy": "IfNotPresent",
        # isolated: nothing that a build left in the workspace is ever imported beside the token
        "command": ["python3", "-I", "-c", _literal(place.program), name],
        "env": [{"name": "FAIRWAY_TASK", "value": _literal(json.dumps(_task(place, step)))}],
        "resources": {"limits": {**_TOOLBOX_LIMITS, "ephemeral-storage": build.disk}, "requests": _REQUESTS},
        "securityContext": {"allowPrivilegeEscalation": False},
        "volumeMounts": [
            {"name": "workspace", "mountPath": WORKSPACE},
            {"name": "token", "mountPath": _TOKEN, "readOnly": True},
        ],
    }


def _upload(place: Place, step: Job, build: Build, cluster: bool) -> Raw:
    container = _platform(place, step, build, UPLOAD)
    if cluster:
        container["volumeMounts"].append({"name": "changes", "mountPath": _CHANGES, "readOnly": True})
    return container


def _gate(place: Place, step: Job, build: Build) -> Raw:
    """The way of a job to the API: a sidecar with the token, which the script has not."""
    task = {**_task(place, step), "namespace": place.namespace}
    return {
        **_platform(place, step, build, CLUSTER),
        "command": ["python3", "-I", "-c", _literal(place.gate)],
        "env": [{"name": "FAIRWAY_TASK", "value": _literal(json.dumps(task))}],
        "restartPolicy": "Always",
        "volumeMounts": [
            {"name": "token", "mountPath": _TOKEN, "readOnly": True},
            {"name": "account", "mountPath": _ACCOUNT, "readOnly": True},
            {"name": "cluster", "mountPath": _CLUSTER},
            {"name": "changes", "mountPath": _CHANGES},
        ],
    }


def _gate_volumes() -> list[Raw]:
    """The token by itself, as the API mounts it where that is not turned off; the way to the gate; its notes."""
    account = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return [
        {"name": "account", "projected": {"sources": account}},
        {"name": "cluster", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "changes", "emptyDir": {"sizeLimit": "16Mi"}},
    ]


def _task(place: Place, step: Job) -> Raw:
    caches = [
        {
            "name": cache_name(cache.key),
            "label": cache.key,
            "paths": cache.paths,
            "pull": cache.policy != "push",
            "push": cache.policy != "pull",
        }
        for cache in step.caches
    ]
    return {
        "url": f"{place.endpoint_url}/runs/{place.namespace}/{place.run}/",
        "workspace": WORKSPACE,
        "scratch": WORKSPACE,
        "folder": WORKSPACE if step.box else place.folder,
        "source": step.box is None,
        "folders": list(render_box.FOLDERS) if step.box else [],
        "tools": render_box.TOOLS if step.box else "",
        "step": step_name(step.name),
        "inputs": [step_name(name) for name in step.inputs],
        "artifacts": step.artifacts,
        "exclude": step.artifacts_exclude,
        "caches": caches,
    }


def _script(step: Job, build: Build) -> Raw:
    """The user's container: nothing of the platform but the script itself is in it, and the way to the API."""
    variables, mounts = step.variables, []
    if cluster := in_cluster(step, build) and "KUBECONFIG" not in _named(step, build):
        variables = {**variables, "KUBECONFIG": f"{_CLUSTER}/config"}
        mounts = [{"name": "cluster", "mountPath": _CLUSTER, "readOnly": True}]
    return {
        "name": SCRIPT,
        "image": step.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", _WAIT + _START if cluster else _START],
        "workingDir": WORKSPACE,
        "env": _environment(variables, build.variables),
        "resources": {
            "limits": {"cpu": build.cpu, "memory": build.memory, "ephemeral-storage": build.disk},
            "requests": _REQUESTS,
        },
        "securityContext": {"allowPrivilegeEscalation": False, "privileged": False},
        "volumeMounts": [
            {"name": "workspace", "mountPath": WORKSPACE},
            {"name": "script", "mountPath": _COMMANDS, "readOnly": True},
            *mounts,
        ],
    }


def _named(step: Job, build: Build) -> frozenset[str]:
    """The variables that a job brings itself: a KUBECONFIG of its own leads elsewhere."""
    return frozenset((*step.variables, *(variable.name for variable in build.variables)))


def _service(service: Service, number: int) -> Raw:
    """A sidecar: it starts before the script, and ends by itself when the pod's work is done."""
    container: Raw = {
        "name": f"service-{number}",
        "image": service.image,
        "imagePullPolicy": "IfNotPresent",
        "restartPolicy": "Always",
        "env": _environment(service.variables, ()),
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": _OF_SERVICES},
        "securityContext": {"allowPrivilegeEscalation": False, "privileged": False},
    }
    if service.entrypoint:
        container["command"] = list(service.entrypoint)
    if service.command:
        container["args"] = list(service.command)
    return container


def _environment(variables: Mapping[str, str], of_app: Sequence[Variable]) -> list[Raw]:
    """Plain variables, and those of the App that come from Secrets and ConfigMaps."""
    named = {variable.name for variable in of_app if variable.value_from is not None}
    plain = [{"name": key, "value": _literal(value)} for key, value in variables.items() if key not in named]
    return plain + [encode(variable) for variable in of_app if variable.value_from is not None]


def _literal(value: str) -> str:
    """Kubernetes expands `$(NAME)` in values; `$$(` is how it is written as it is."""
    return value.replace("$(", "$$(")


def _shown(command: str) -> str:
    first, _, rest = command.strip().partition("\n")
    return f"{first} …" if rest else first
