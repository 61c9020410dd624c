"""An App's environment and an image, as Deployment, Service and Ingress."""

from collections.abc import Mapping, Sequence
from typing import Any

from fairway.delivery.kinds.apps import App, Environment, Probe, object_name
from fairway.delivery.kinds.domains import tls_secret_name
from fairway.delivery.kinds.resources import APP_LABEL, COMMIT_ANNOTATION, ENVIRONMENT_LABEL, MANAGED_BY
from fairway.delivery.releases.objects import Manifest, Place

Raw = dict[str, Any]

CONTAINER = "app"
_PORT = "PORT"
_SITE_PORT = 8080
_PROGRAM_PORT = 8080
_PRIVILEGED_PORTS = 1024
_VERSION_LENGTH = 12
# What an image that starts as root needs to hand its work to a user of its own, as nginx and most published images do.
_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")


def generated(
    app: App,
    environment: Environment,
    *,
    image: str,
    port: int = 0,
    user: str = "",
    commit: str = "",
    configuration: str = "",
    pod_variables: Sequence[Mapping[str, Any]] = (),
    brought: Mapping[str, str] | None = None,
) -> tuple[Manifest, ...]:
    """The objects of an App without own manifests; `environment.domains` are hosts that it holds.

    `configuration` is the Secret with the frozen variables, `pod_variables` are those that only a running pod can know
    (its fields and resources); `brought` has the Secret of each domain whose certificate is somebody's own. Nothing
    here names the Release: a Release that changes nothing of a pod, such as one that scales, restarts none. With a
    `user` the pods keep to the Pod Security level `restricted`.
    """
    port = app.spec.runtime.port or port or (_SITE_PORT if app.spec.build.strategy == "static" else _PROGRAM_PORT)
    naming = _Naming(app, environment, image, commit)
    variables = list(pod_variables)
    if not any(variable.name == _PORT for variable in environment.env):
        variables.insert(0, {"name": _PORT, "value": str(port)})
    container = _container(app, image, port, user, configuration, variables)
    objects: list[Manifest] = [
        naming.service(),
        naming.deployment(app, environment, container, _pod_security(port, user)),
    ]
    if environment.domains:
        objects.append(naming.ingress(app, environment.domains, brought or {}))
    return tuple(objects)


class _Naming:
    """Names, labels and annotations that the objects of one environment share."""

    def __init__(self, app: App, environment: Environment, image: str, commit: str) -> None:
        self.name = object_name(app.metadata.name, environment.name)
        self.namespace = app.metadata.namespace
        self.selector = {APP_LABEL: app.metadata.name, ENVIRONMENT_LABEL: environment.name}
        self.labels = {
            "app.kubernetes.io/name": app.metadata.name,
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/version": commit[:_VERSION_LENGTH] or _digest(image),
            "app.kubernetes.io/component": "web",
            **Place(self.namespace, app.metadata.name, environment.name).labels,
        }
        self.annotations = {COMMIT_ANNOTATION: commit} if commit else {}

    def metadata(self, **annotations: str) -> Raw:
        notes = {**annotations, **self.annotations}
        metadata: Raw = {"name": self.name, "namespace": self.namespace, "labels": self.labels}
        return metadata | ({"annotations": notes} if notes else {})

    def deployment(self, app: App, environment: Environment, container: Raw, security: Raw) -> Raw:
        deploy = app.spec.deploy
        template: Raw = {"labels": self.labels} | ({"annotations": self.annotations} if self.annotations else {})
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.metadata(),
            "spec": {
                "replicas": environment.replicas,
                "selector": {"matchLabels": self.selector},
                "minReadySeconds": 0,
                "progressDeadlineSeconds": deploy.progress_deadline_seconds,
                # Never one ready pod less than wished for; Kubernetes rounds the surge up, so it is at least one.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
                "template": {"metadata": template, "spec": _pod(app, container, security)},
            },
        }

    def service(self) -> Raw:
        spec = {
            "selector": self.selector,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
        }
        return {"apiVersion": "v1", "kind": "Service", "metadata": self.metadata(), "spec": spec}

    def ingress(self, app: App, hosts: Sequence[str], brought: Mapping[str, str]) -> Raw:
        # A certificate for each, so that a domain that comes or goes is nothing to the others.
        secrets: dict[str, list[str]] = {}
        for host in hosts:
            secrets.setdefault(brought.get(host) or tls_secret_name(host), []).append(host)
        backend = {"service": {"name": self.name, "port": {"name": "http"}}}
        http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": self.metadata(**app.spec.deploy.annotations),
            "spec": {
                "tls": [{"hosts": served, "secretName": name} for name, served in secrets.items()],
                "rules": [{"host": host, "http": http} for host in hosts],
            },
        }


def _pod(app: App, container: Raw, security: Raw) -> Raw:
    pull = app.spec.registry.credentials_secret
    return {
        "automountServiceAccountToken": False,
        "securityContext": security,
        "terminationGracePeriodSeconds": app.spec.runtime.termination_grace_period_seconds,
        "containers": [container],
    } | ({"imagePullSecrets": [{"name": pull}]} if pull else {})


def _container(
    app: App, image: str, port: int, user: str, configuration: str, variables: Sequence[Mapping[str, Any]]
) -> Raw:
    runtime = app.spec.runtime
    optional: Raw = {
        "env": list(variables),
        "command": list(runtime.command),
        "args": list(runtime.args),
        "envFrom": [{"secretRef": {"name": configuration}}] if configuration else [],
        "resources": dict(runtime.resources),
    }
    return {
        "name": CONTAINER,
        "image": image,
        "ports": [{"name": "http", "containerPort": port, "protocol": "TCP"}],
        "readinessProbe": _readiness(app, port),
        "securityContext": _security(port, user),
    } | {name: value for name, value in optional.items() if value}


def _readiness(app: App, port: int) -> Raw:
    """Without a wish, a program is ready when it accepts connections: its `/` may rightly be a 404.

    A static site that somebody asked for must have something at `/`: one whose build made nothing is not to go live.
    """
    site = app.spec.build.strategy == "static"
    probe = app.spec.runtime.probe or Probe(path="/" if site else "")
    target: Raw = {"port": probe.port or "http"}
    check: Raw = {"httpGet": {"path": probe.path, **target}} if probe.path else {"tcpSocket": target}
    return check | {
        "initialDelaySeconds": probe.initial_delay_seconds,
        "periodSeconds": probe.period_seconds,
        "timeoutSeconds": probe.timeout_seconds,
        "failureThreshold": probe.failure_threshold,
    }


def _pod_security(port: int, user: str) -> Raw:
    """A low port for somebody who is not root takes a setting of the pod's own network, which `restricted` allows."""
    seccomp: Raw = {"seccompProfile": {"type": "RuntimeDefault"}}
    if not user or port >= _PRIVILEGED_PORTS:
        return seccomp
    return {**seccomp, "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": str(port)}]}


def _security(port: int, user: str) -> Raw:
    """An image that starts as root, or as somebody who is only known by name, keeps what such images need."""
    if user:
        uid, _, gid = user.partition(":")
        return {
            "runAsNonRoot": True,
            "runAsUser": int(uid),
            **({"runAsGroup": int(gid)} if gid else {}),
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
    added = sorted((*_CAPABILITIES, *(("NET_BIND_SERVICE",) if port < _PRIVILEGED_PORTS else ())))
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"], "add": added}}


def _digest(image: str) -> str:
    """What stands for the version of an image that no commit made, as a label may hold it."""
    return image.rpartition("sha256:")[2][:_VERSION_LENGTH] if "sha256:" in image else MANAGED_BY
