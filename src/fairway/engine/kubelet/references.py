"""Which ConfigMaps, Secrets and claims a pod refers to (pure)."""

from fairway.engine.kubelet import environment
from fairway.engine.kubelet.volumes import payload
from fairway.kube.api.pods import Pod
from fairway.kube.api.storage import claims_of


def uses(pod: Pod, kind: str, name: str) -> bool:
    """Whether a pod's volumes, variables or pull secrets refer to this ConfigMap, Secret or claim."""
    if kind == "PersistentVolumeClaim":
        return name in claims_of(pod)
    containers = (*pod.spec.init_containers, *pod.spec.containers)
    if kind == "ConfigMap":
        return any(name in payload.config_map_names(volume) for volume in pod.spec.volumes) or any(
            name in environment.config_map_names(container) for container in containers
        )
    return (
        any(name in payload.secret_names(volume) for volume in pod.spec.volumes)
        or any(name in environment.secret_names(container) for container in containers)
        or any(name == reference.name for reference in pod.spec.image_pull_secrets)
    )
