"""The pod that runs commands of a Dockerfile: the image so far, and over it nothing but what the commands mount.

The program that runs them (builds/run_steps.py) and a Python for it come from the platform's container `source`. It
begins as root, to see every file afterwards; each command becomes the image's user and loses all capabilities.
"""

from typing import Any

from fairway.delivery.builds.run_steps import PLACE
from fairway.delivery.kinds.apps import Build
from fairway.delivery.pipelines.containerfile import OUTPUT, cache_folder
from fairway.delivery.pipelines.ir import Box, Job, Mount
from fairway.delivery.pipelines.names import SCRIPT

Raw = dict[str, Any]
TOOLS = "tools"
FOLDERS = ("task", TOOLS, OUTPUT, "binds", "caches")
_VOLUME = "workspace"
_COMMAND = (
    *(f"{PLACE}/{TOOLS}/ld.so", "--library-path", f"{PLACE}/{TOOLS}/lib"),
    *(f"{PLACE}/{TOOLS}/bin/python3", "-I", "-S", "-B", f"{PLACE}/task/run.py"),
)


def container(step: Job, build: Build, requests: Raw) -> Raw:
    """The container with the image so far."""
    box = step.box or Box("")
    return {
        "name": SCRIPT,
        "image": step.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(_COMMAND),
        "workingDir": "/",
        "env": [_variable(mount) for mount in box.mounts if mount.kind == "variable"],
        "resources": {
            "limits": {"cpu": build.cpu, "memory": build.memory, "ephemeral-storage": build.disk},
            "requests": requests,
        },
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "allowPrivilegeEscalation": False,
            "privileged": False,
        },
        "volumeMounts": [
            _part("task", f"{PLACE}/task", read_only=True),
            _part(TOOLS, f"{PLACE}/{TOOLS}", read_only=True),
            _part(OUTPUT, f"{PLACE}/{OUTPUT}", read_only=False),
            *(_mount(number, mount) for number, mount in enumerate(box.mounts) if mount.kind != "variable"),
        ],
    }


def volumes(box: Box) -> list[Raw]:
    """What commands mount besides files of the workspace."""
    found: list[Raw] = []
    for number, mount in enumerate(box.mounts):
        if mount.kind == "tmpfs":
            limit = {"sizeLimit": str(mount.size_bytes)} if mount.size_bytes else {}
            found.append({"name": f"mount-{number}", "emptyDir": {"medium": "Memory", **limit}})
        elif mount.kind == "secret":
            items = [{"key": mount.key, "path": "value", "mode": mount.mode}]
            found.append({"name": f"mount-{number}", "secret": {"secretName": mount.source, "items": items}})
    return found


def _mount(number: int, mount: Mount) -> Raw:
    match mount.kind:
        case "bind":
            return _part(f"binds/{mount.source}", mount.path, read_only=mount.read_only)
        case "cache":
            return _part(cache_folder(mount.source), mount.path, read_only=mount.read_only)
        case "secret":
            return {"name": f"mount-{number}", "mountPath": mount.path, "subPath": "value", "readOnly": True}
    return {"name": f"mount-{number}", "mountPath": mount.path}


def _part(path: str, target: str, *, read_only: bool) -> Raw:
    return {"name": _VOLUME, "subPath": path, "mountPath": target, "readOnly": read_only}


def _variable(mount: Mount) -> Raw:
    return {"name": mount.path, "valueFrom": {"secretKeyRef": {"name": mount.source, "key": mount.key}}}
