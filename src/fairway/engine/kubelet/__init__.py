"""Pods of this node to containers, and what became of them back to the API.

Reads:  Pods with our spec.nodeName, ConfigMap, Secret, Service, EndpointSlice, PersistentVolumeClaim, PersistentVolume.
Writes: Pod status (and the deletion of pods that have ended), Node, Lease, Events; containers, volumes, pod network.
Loop:   keyed, by pod.   Flow: watch and runtime -> worker -> plan -> tasks (starting, stopping, sandboxes) -> status.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fairway.engine.kubelet.config import Config as Config
    from fairway.engine.kubelet.controller import run as run

_PLACES = {"Config": "fairway.engine.kubelet.config", "run": "fairway.engine.kubelet.controller"}


def __getattr__(name: str) -> Any:
    """Open the door when somebody comes: the zygote imports `kubelet.runtime` and must stay small."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
