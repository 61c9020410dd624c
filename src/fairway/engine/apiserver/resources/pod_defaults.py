"""What Kubernetes fills into a pod specification (core/v1 SetDefaults), wherever one appears."""

from collections.abc import Iterator

from fairway.engine.apiserver.resources.defaulting import child, fill
from fairway.engine.apiserver.resources.kind import Object

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")
FILE_MODE = 0o644

_PROBE_NUMBERS = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_SPEC = {
    "dnsPolicy": "ClusterFirst",
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30,
}
_VOLUME_MODES = ("secret", "configMap", "downwardAPI", "projected")


def default_pod_spec(spec: Object) -> None:
    """Fill the fields that every pod specification gets, in a Pod as in a template."""
    for key, value in _SPEC.items():
        fill(spec, key, value)
    fill(spec, "securityContext", {})
    _mirror_service_account(spec)
    for container in containers(spec):
        _container(container)
    for container in spec.get("ephemeralContainers") or ():
        _container(container)
    if spec.get("hostNetwork"):
        _host_ports(spec)
    for volume in spec.get("volumes") or ():
        _volume(volume)


def default_requests(spec: Object) -> None:
    """Requests are limits where only limits are given. Pods only; templates keep what the user wrote."""
    for container in containers(spec):
        resources = container["resources"]
        for name, limit in (resources.get("limits") or {}).items():
            child(resources, "requests").setdefault(name, limit)


def containers(spec: Object) -> Iterator[Object]:
    """Init containers and containers, in this order."""
    yield from spec.get("initContainers") or ()
    yield from spec.get("containers") or ()


def _mirror_service_account(spec: Object) -> None:
    """`serviceAccount` is the deprecated name of `serviceAccountName`; both are always shown."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _container(container: Object) -> None:
    fill(container, "resources", {})
    fill(container, "terminationMessagePath", "/dev/termination-log")
    fill(container, "terminationMessagePolicy", "File")
    fill(container, "imagePullPolicy", "Always" if _moving(container.get("image") or "") else "IfNotPresent")
    for port in container.get("ports") or ():
        fill(port, "protocol", "TCP")
    for probe in PROBES:
        if container.get(probe):
            _probe(container[probe])
    for hook in HOOKS:
        _action((container.get("lifecycle") or {}).get(hook) or {})
    for variable in container.get("env") or ():
        _environment((variable.get("valueFrom") or {}).get("fieldRef"))


def _moving(image: str) -> bool:
    """Whether an image name follows `latest`: no tag and no digest, or that tag."""
    name = image.rsplit("/", 1)[-1]
    if "@" in image:
        return False
    return ":" not in name or name.endswith(":latest")


def _probe(probe: Object) -> None:
    for key, value in _PROBE_NUMBERS.items():
        if not probe.get(key):
            probe[key] = value
    _action(probe)


def _action(action: Object) -> None:
    if action.get("httpGet"):
        fill(action["httpGet"], "path", "/")
        fill(action["httpGet"], "scheme", "HTTP")
    if action.get("grpc"):
        action["grpc"].setdefault("service", "")


def _environment(reference: Object | None) -> None:
    if reference:
        fill(reference, "apiVersion", "v1")


def _host_ports(spec: Object) -> None:
    for container in containers(spec):
        for port in container.get("ports") or ():
            if not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort")


def _volume(volume: Object) -> None:
    if all(value is None for key, value in volume.items() if key != "name"):
        volume["emptyDir"] = {}
    for source in _VOLUME_MODES:
        if volume.get(source) is not None and volume[source].get("defaultMode") is None:
            volume[source]["defaultMode"] = FILE_MODE
    if volume.get("hostPath"):
        volume["hostPath"].setdefault("type", "")
    _field_references(volume.get("downwardAPI"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        _field_references(source.get("downwardAPI"))
        if source.get("serviceAccountToken") and not source["serviceAccountToken"].get("expirationSeconds"):
            source["serviceAccountToken"]["expirationSeconds"] = 3600
    claim = ((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}).get("spec")
    if claim:
        fill(claim, "volumeMode", "Filesystem")


def _field_references(source: Object | None) -> None:
    for item in (source or {}).get("items") or ():
        _environment(item.get("fieldRef"))
