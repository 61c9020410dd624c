"""The root file system of a container, made inside its own mount namespace.

Order matters for safety. Everything that comes from the node (layers, volumes, devices) is taken as a detached mount
while the node's files are still in sight; then the root is changed and the node's files are gone; only then are the
mounts attached. So a symbolic link of a hostile image can lead nowhere but into the container itself.
"""

import os
import stat

from fairway.engine.kubelet.runtime.wire import Volume
from fairway.toolkit import linux

MASKED = ("acpi", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi", "interrupts")
READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_NO_EXTRAS = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV | linux.MOUNT_ATTR_NOEXEC
_FOLDER = os.O_PATH | os.O_DIRECTORY
_SHM_BYTES = 64 * 1024 * 1024
# Paths of ours, below which an image's links are not followed.
_PLAIN = linux.RESOLVE_NO_SYMLINKS | linux.RESOLVE_NO_MAGICLINKS


class MountFailure(Exception):
    """A mount could not be made; the message names source, target and the kernel's reason."""


class _Parts:
    """The detached mounts of one container, waiting for its root."""

    def __init__(self, volumes: tuple[Volume, ...], shm_path: str, *, privileged: bool) -> None:
        self.proc = linux.new_filesystem("proc", (), _NO_EXTRAS)
        as_allowed = _NO_EXTRAS | (0 if privileged else linux.MOUNT_ATTR_RDONLY)
        self.sys = linux.new_filesystem("sysfs", (), as_allowed)
        self.group = linux.new_filesystem("cgroup2", (), as_allowed) if sees_its_group() else None
        size = (("size", "65536k"), ("mode", "755"))
        no_devices = linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV
        self.dev = linux.new_filesystem("tmpfs", size, no_devices)
        terminals = (("newinstance", None), ("ptmxmode", "0666"), ("mode", "0620"))
        self.pts = linux.new_filesystem("devpts", terminals, linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NOEXEC)
        self.mqueue = linux.new_filesystem("mqueue", (), _NO_EXTRAS)
        self.shm = linux.open_tree(shm_path) if shm_path else _memory(_SHM_BYTES)
        devices = all_devices() if privileged else DEVICES
        self.devices = {name: linux.open_tree(f"/dev/{name}") for name in devices}
        # Parents first, so that a volume inside another volume is not hidden by it.
        ordered = sorted(volumes, key=lambda volume: os.path.normpath(volume.target).count("/"))
        self.volumes = tuple((volume, _take(volume)) for volume in ordered)


def sees_its_group() -> bool:
    """Whether a container gets its own control group to see, as with cgroup v2: programs look there for their limits.

    It is the root of the container's cgroup namespace, which this process must have entered before.
    """
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def all_devices() -> tuple[str, ...]:
    """Every device file directly in /dev: what a privileged container may use."""
    found = {entry.name for entry in os.scandir("/dev") if is_device(entry.path)} - {"ptmx", "console"}
    return tuple(sorted({*DEVICES, *found}))


def is_device(path: str) -> bool:
    """Whether a path is a device file itself."""
    mode = os.stat(path, follow_symlinks=False).st_mode
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _memory(size_bytes: int | None) -> int:
    """A tmpfs that everyone may write, as /dev/shm and memory volumes are."""
    size = (("size", str(size_bytes)),) if size_bytes else ()
    return linux.new_filesystem("tmpfs", (("mode", "1777"), *size), linux.MOUNT_ATTR_NOSUID | linux.MOUNT_ATTR_NODEV)


def _take(volume: Volume) -> int:
    """A detached, private copy of a volume's source."""
    try:
        if volume.kind == "tmpfs":
            tree = _memory(volume.size_bytes)
        else:
            tree = linux.open_tree(volume.source)
            linux.mount_setattr(tree, propagation=linux.MS_PRIVATE, recursive=True)
            # Device files work where the node's owner put one, nowhere else, whatever the container may mknod.
            if not _is(tree, stat.S_IFCHR, stat.S_IFBLK):
                linux.mount_setattr(tree, set_flags=linux.MOUNT_ATTR_NODEV, recursive=True)
        if volume.read_only:
            linux.mount_setattr(tree, set_flags=linux.MOUNT_ATTR_RDONLY, recursive=True)
        return tree
    except OSError as error:
        raise failure(volume.source or volume.kind, volume.target, error) from error


def _is(fd: int, *kinds: int) -> bool:
    return stat.S_IFMT(os.fstat(fd).st_mode) in kinds


def failure(source: str, target: str, error: OSError) -> MountFailure:
    """What containers' users are told when a mount cannot be made: the words of runc."""
    return MountFailure(f'error mounting "{source}" to rootfs at "{target}": {os.strerror(error.errno or 0).lower()}')


def enter(
    layers: tuple[str, ...],
    folders: tuple[str, str, str],
    volumes: tuple[Volume, ...],
    shm_path: str,
    *,
    read_only: bool,
    privileged: bool = False,
) -> None:
    """Build the root from overlay `layers` (topmost first) and make it this process's only file tree.

    `folders` are upper, work and merged. This process must be process 1 of its PID namespace and alone in its mount
    namespace. Raises MountFailure or OSError; the process is then good for nothing but to report that and end.
    """
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE)
    parts = _Parts(volumes, shm_path, privileged=privileged)
    overlay(layers, *folders)
    _change_root(folders[2])
    _attach(parts.proc, _folder("/proc"))
    _attach(parts.sys, _folder("/sys"))
    if parts.group is not None:
        _attach(parts.group, linux.openat2(linux.AT_FDCWD, "/sys/fs/cgroup", _FOLDER, _PLAIN))
    _attach_devices(parts)
    proc = os.open("/proc", _FOLDER | os.O_CLOEXEC)
    firmware = _optional(linux.AT_FDCWD, "/sys/firmware")
    for volume, tree in parts.volumes:
        _attach_volume(volume, tree)
    if not privileged:
        _protect(proc, firmware, parts)
    if read_only:
        root = os.open("/", _FOLDER | os.O_CLOEXEC)
        linux.mount_setattr(root, set_flags=linux.MOUNT_ATTR_RDONLY)


def overlay(layers: tuple[str, ...], upper: str, work: str, merged: str) -> None:
    """Mount the layers. They are named by descriptor: no length limit, no escaping, no node path in the mount table."""
    for folder in (upper, work, merged):
        os.makedirs(folder, exist_ok=True)
    os.chmod(upper, 0o755)  # it becomes the container's `/`
    lower = ":".join(_by_descriptor(layer) for layer in layers)
    options = f"lowerdir={lower},upperdir={_by_descriptor(upper)},workdir={_by_descriptor(work)}"
    if in_user_namespace():
        options += ",userxattr"
    linux.mount("overlay", merged, "overlay", linux.MS_NODEV, options)


def _by_descriptor(folder: str) -> str:
    return f"/proc/self/fd/{os.open(folder, _FOLDER | os.O_CLOEXEC)}"


def in_user_namespace() -> bool:
    """Whether root here is somebody else's ordinary user: the kernel lets no device file of ours work then."""
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def refuse_links(merged: str) -> None:
    """Refuse an image whose own folders are links, before an OCI runtime mounts over them. Raises MountFailure."""
    for name in ("proc", "dev", "sys"):
        if os.path.islink(f"{merged}/{name}"):
            raise MountFailure(f'"/{name}" of the image is a symbolic link: it must be a folder')


def refuse_devices(process: int) -> None:
    """Let no device file on the root of another process work, whatever it may mknod. Raises OSError.

    An OCI runtime mounts the root once more and forgets what was set before. Moves this process into the other's mount
    namespace: it is good for nothing else afterwards, and must not import anything.
    """
    linux.setns(process, linux.CLONE_NEWNS)
    root = os.open("/", _FOLDER | os.O_CLOEXEC)
    linux.mount_setattr(root, set_flags=linux.MOUNT_ATTR_NODEV)


def attach_console(slave: int) -> None:
    """Make the container's terminal its /dev/console too."""
    tree = linux.open_tree(os.ttyname(slave))
    _attach(tree, os.open("/dev/console", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o620))


def _change_root(merged: str) -> None:
    os.chdir(merged)
    linux.pivot_root(".", ".")
    linux.umount(".", linux.MNT_DETACH)
    os.chdir("/")


def _attach(tree: int, target: int) -> None:
    linux.move_mount(tree, target)
    os.close(target)


def _folder(path: str) -> int:
    """A real folder of the image, made when missing; a symbolic link in its place is refused."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        pass
    return linux.openat2(linux.AT_FDCWD, path, _FOLDER, _PLAIN)


def _attach_devices(parts: _Parts) -> None:
    _attach(parts.dev, _folder("/dev"))
    for name, tree in parts.devices.items():
        _attach(tree, os.open(f"/dev/{name}", os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC, 0o666))
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    _attach(parts.pts, _folder("/dev/pts"))
    _attach(parts.shm, _folder("/dev/shm"))
    _attach(parts.mqueue, _folder("/dev/mqueue"))


def _attach_volume(volume: Volume, tree: int) -> None:
    try:
        is_folder = _is(tree, stat.S_IFDIR)
        _make_target(volume.target, is_folder)
        flags = _FOLDER if is_folder else os.O_PATH
        _attach(tree, linux.openat2(linux.AT_FDCWD, volume.target, flags, linux.RESOLVE_NO_MAGICLINKS))
    except OSError as error:
        raise failure(volume.source or volume.kind, volume.target, error) from error


def _make_target(path: str, is_folder: bool) -> None:
    """Make a missing mount point, an empty folder or file; links of the image resolve inside the container."""
    path = os.path.realpath(path)  # also makes what a dangling link points at
    if is_folder:
        os.makedirs(path, 0o755, exist_ok=True)
        return
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    if not os.path.exists(path):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))


def _optional(folder: int, path: str) -> int | None:
    """A handle of a path that this kernel may not have."""
    try:
        return linux.openat2(folder, path, os.O_PATH, _PLAIN)
    except FileNotFoundError:
        return None


def _protect(proc: int, firmware: int | None, parts: _Parts) -> None:
    """Hide and freeze the parts of /proc and /sys that are about the machine. `proc` is the mount we made ourselves."""
    masked = [_optional(proc, name) for name in MASKED]
    for handle in (*masked, firmware):
        if handle is not None and _is(handle, stat.S_IFDIR):
            _attach(linux.new_filesystem("tmpfs", (), _NO_EXTRAS | linux.MOUNT_ATTR_RDONLY), handle)
        elif handle is not None:
            _attach(linux.clone_mount(parts.devices["null"]), handle)
    for name in READ_ONLY:
        handle = _optional(proc, name)
        if handle is not None:
            copy = linux.clone_mount(handle)
            linux.mount_setattr(copy, set_flags=linux.MOUNT_ATTR_RDONLY)
            _attach(copy, handle)
