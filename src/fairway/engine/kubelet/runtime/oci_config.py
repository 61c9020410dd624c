"""A container as the runtime specification of the Open Container Initiative describes it: its config.json."""

import os

from fairway.engine.kubelet.runtime import privileges, program, rootfs, sandbox, seccomp
from fairway.engine.kubelet.runtime.wire import Spec, Volume

Json = dict[str, object]
_NO_EXTRAS = ["nosuid", "noexec", "nodev"]
_KINDS = {"net": "network", "ipc": "ipc", "uts": "uts"}


def config(
    spec: Spec, account: privileges.Account, root: str, home: str, pid_namespace: str, *, limited: bool = True
) -> Json:
    """`home` is the folder of the sandbox ("" for none), `pid_namespace` the path of one that is there, if any.

    Not `limited` is where this machine lets us make no control groups: runc insists on one that is named.
    """
    names = privileges.available(privileges.kept(spec.capabilities_add, spec.capabilities_drop))
    kept = [f"CAP_{name}" for name in sorted(names)]
    return {
        "ociVersion": "1.0.2",
        "root": {"path": root, "readonly": spec.read_only_root},
        "hostname": spec.hostname,
        "process": {
            "terminal": spec.tty,
            "user": {"uid": account.uid, "gid": account.gid, "additionalGids": list(account.groups)},
            "args": list(spec.args),
            "env": [
                f"{key}={value}"
                for key, value in {"PATH": program.DEFAULT_PATH, "HOME": account.home, **spec.env}.items()
            ],
            "cwd": spec.cwd,
            "capabilities": {"bounding": kept, "effective": kept if account.uid == 0 else [], "permitted": kept},
            "noNewPrivileges": spec.no_new_privileges,
            **({} if spec.oom_score_adj is None else {"oomScoreAdj": spec.oom_score_adj}),
        },
        "mounts": _mounts(spec, home),
        "linux": {
            "namespaces": _namespaces(home, pid_namespace),
            **(_group(spec) if limited else {}),
            **_protected(spec, names),
        },
    }


def _group(spec: Spec) -> Json:
    return {
        "cgroupsPath": f"/{spec.cgroup}" if spec.cgroup else f"/fairway-{spec.id}",
        "resources": {"devices": [{"allow": spec.privileged, "access": "rwm"}]},
    }


def _namespaces(home: str, pid_namespace: str) -> list[Json]:
    found: list[Json] = [{"type": "mount"}, {"type": "cgroup"}]
    found.append({"type": "pid", "path": pid_namespace} if pid_namespace else {"type": "pid"})
    if not home:
        return [*found, {"type": "ipc"}, {"type": "uts"}]
    shared: list[Json] = [{"type": kind, "path": f"{home}/{name}"} for name, kind in _KINDS.items()]
    return found + shared


def _mounts(spec: Spec, home: str) -> list[Json]:
    shm = sandbox_shm(home) or {"type": "tmpfs", "source": "shm", "options": [*_NO_EXTRAS, "mode=1777", "size=65536k"]}
    sys_options = [*_NO_EXTRAS, "rw" if spec.privileged else "ro"]
    bound = rootfs.in_user_namespace()  # by the runtime, as nobody can make device files there
    made: list[Json] = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": _NO_EXTRAS},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": sys_options},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            # As everywhere, no device file works but those that are bound: crun knows no device cgroup here.
            "options": ["nosuid", *([] if bound else ["nodev"]), "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": _NO_EXTRAS},
        {"destination": "/dev/shm", **shm},
    ]
    if rootfs.sees_its_group():
        options = [*_NO_EXTRAS, "rw" if spec.privileged else "ro"]
        made.append({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": options})
    devices = set(rootfs.all_devices() if spec.privileged else rootfs.DEVICES) - set(rootfs.DEVICES if bound else ())
    made += [_bind(f"/dev/{name}", f"/dev/{name}", ["bind", "rw"]) for name in sorted(devices)]
    # Parents first, so that a volume inside another volume is not hidden by it.
    ordered = sorted(spec.volumes, key=lambda volume: os.path.normpath(volume.target).count("/"))
    return made + [_volume(volume) for volume in ordered]


def sandbox_shm(home: str) -> Json | None:
    """The memory that the containers of a pod share."""
    return {"type": "bind", "source": f"{home}/shm", "options": ["bind", "nosuid", "nodev", "noexec"]} if home else None


def _volume(volume: Volume) -> Json:
    """Raises rootfs.MountFailure when there is nothing at the source."""
    if volume.kind == "tmpfs":
        size = [f"size={volume.size_bytes}"] if volume.size_bytes else []
        options = ["nosuid", "nodev", "mode=1777", *size]
        return {"destination": volume.target, "type": "tmpfs", "source": "tmpfs", "options": options}
    options = ["rbind", "rprivate", "ro" if volume.read_only else "rw"]
    try:
        device = rootfs.is_device(volume.source)
    except OSError as error:
        raise rootfs.failure(volume.source, volume.target, error) from error
    return _bind(volume.source, volume.target, options if device else [*options, "nodev"])


def _bind(source: str, target: str, options: list[str]) -> Json:
    return {"destination": target, "type": "bind", "source": source, "options": options}


def _protected(spec: Spec, kept: frozenset[str]) -> Json:
    if spec.privileged:
        return {}
    masked = [f"/proc/{name}" for name in rootfs.MASKED]
    found: Json = {
        "maskedPaths": [*masked, "/sys/firmware"],
        "readonlyPaths": [f"/proc/{name}" for name in rootfs.READ_ONLY],
    }
    if spec.seccomp != "unconfined":
        own = spec.seccomp_profile if spec.seccomp == "custom" else None
        found["seccomp"] = seccomp.profile(kept) if own is None else own
    return found


def home_of(run_dir: str, spec: Spec) -> str:
    """The folder of the container's sandbox, "" for none."""
    return sandbox.folder(run_dir, spec.sandbox) if spec.sandbox else ""
