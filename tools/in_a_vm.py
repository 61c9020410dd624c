"""Runs one command on Debian's own kernel in a virtual machine: there all controllers of cgroup v2 are at hand.

in_a_vm.py [--cpus N] [--memory-mib N] [--seconds N] [--quiet] COMMAND…

The machine is QEMU's, with KVM where /dev/kvm works and by emulation elsewhere. Its root is a Debian of this machine's
release, made once by mmdebstrap and kept in `.fairway/vm/`; on it lie this project and its virtual environment, at the
places that they have here. It has a loopback and no other network, and nothing of it stays. Exits as the command did;
124 when the time was over.
"""

import argparse
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
CACHE = PROJECT / ".fairway" / "vm"
_FILES = Path(__file__).parent / "vm"
_KERNEL = "linux-image-cloud-amd64"
_PACKAGES = (
    *("python3", "nftables", "iproute2", "haproxy", "crun", "runc", "uidmap", "slirp4netns", "busybox-static", "kmod"),
    *("git", "curl", "ca-certificates", "procps", "netbase", "conntrack", "mmdebstrap"),
)
# What shows the disks; ext4 is part of the kernel.
_MODULES = ("virtio_pci", "virtio_blk")
_OF_THE_PROJECT = ("src", "tests", "tools", "examples", "pyproject.toml", "README.md")
_SPARE_MIB = 256
_TIMED_OUT = 124
_PASSED_ON = re.compile(r"FAIRWAY_|PYTEST_|PYTHONDONTWRITEBYTECODE$")


def main() -> int:
    """Parse, make what is missing, run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--memory-mib", type=int, default=2048)
    parser.add_argument("--seconds", type=int, default=1800, help="when to give up")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    command = given.command[1:] if given.command[:1] == ["--"] else given.command
    if not command:
        parser.error("say which command to run")
    kernel, initrd, root = _machine()
    with tempfile.TemporaryDirectory(prefix="in-a-vm-", dir=CACHE) as scratch:
        disk = _disk_of_project(Path(scratch), command)
        arguments = _qemu(given.cpus, given.memory_mib, kernel, initrd, root, disk, Path(scratch) / "result")
        return _boot(arguments, Path(scratch) / "result", given.seconds)


def _qemu(cpus: int, memory_mib: int, kernel: Path, initrd: Path, root: Path, disk: Path, result: Path) -> list[str]:
    console = ["-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out", "-serial", f"file:{result}"]
    drives = [
        f"file={root},format=raw,if=virtio,snapshot=on,cache=unsafe",
        f"file={disk},format=raw,if=virtio,cache=unsafe",
    ]
    return [
        *("nice", "-n", "10", "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-no-user-config"),
        *("-machine", "pc", "-accel", _accelerator(), "-cpu", "max", "-smp", str(cpus), "-m", str(memory_mib)),
        *("-kernel", str(kernel), "-initrd", str(initrd)),
        *("-append", "console=ttyS0 loglevel=1 panic=-1 random.trust_cpu=on mitigations=off"),
        *(word for drive in drives for word in ("-drive", drive)),
        *console,
    ]


def _accelerator() -> str:
    """/dev/kvm alone says little: without the processor's own help a machine may stand still before its first word."""
    flags = set(re.findall(r"\b(?:vmx|svm)\b", Path("/proc/cpuinfo").read_text()))
    return "kvm" if flags and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg,tb-size=512"


def _boot(arguments: list[str], result: Path, seconds: int) -> int:
    """The exit code of the command."""
    with subprocess.Popen(arguments, stdin=subprocess.DEVNULL) as machine:
        try:
            machine.wait(seconds)
        except subprocess.TimeoutExpired:
            sys.stderr.write(f"in_a_vm: not done after {seconds} s\n")
            return _TIMED_OUT
        finally:
            machine.kill()
    said = result.read_text(errors="replace").split() if result.exists() else []
    if said[:1] != ["exit"]:
        sys.stderr.write(f"in_a_vm: the machine ended before the command did (qemu: {machine.returncode})\n")
        return 1
    return int(said[1])


def _disk_of_project(scratch: Path, command: list[str]) -> Path:
    """A disk with everything at its own path, the command, and the list of places to show it at."""
    tree = scratch / "tree"
    stdlib = Path(sysconfig.get_path("stdlib"))
    places = [PROJECT]
    for name in _OF_THE_PROJECT:
        _copy(PROJECT / name, tree)
    _copy(Path(sys.prefix), tree)
    if Path(sys.base_prefix) != Path("/usr"):
        places.append(Path(sys.base_prefix))
        for path in (Path(sys.base_prefix) / "bin", stdlib, *(stdlib.parent).glob("libpython*.so*")):
            _copy(path, tree, skipped=("site-packages", "test", "idlelib", "tkinter", "config-*", "ensurepip"))
    if kubectl := _kubectl():
        places.append(Path("/opt/in-a-vm"))
        (tree / "opt" / "in-a-vm").mkdir(parents=True)
        shutil.copy2(kubectl, tree / "opt" / "in-a-vm" / "kubectl")
    script = [f"export {name}={shlex.quote(value)}" for name, value in os.environ.items() if _PASSED_ON.match(name)]
    (tree / "places").write_text("".join(f"{place}\n" for place in places))
    (tree / "command").write_text("\n".join([*script, f"cd {PROJECT}", shlex.join(command), ""]))
    return _file_system(tree, scratch / "project.ext4")


def _kubectl() -> Path | None:
    """The newest one of this machine; the distribution's may be many years old."""
    first = shutil.which("kubectl")
    found = Path(first).resolve() if first else None
    return max(found.parent.glob("kubectl.1.*"), default=found) if found else None


def _copy(path: Path, tree: Path, skipped: tuple[str, ...] = ()) -> None:
    target = tree / path.relative_to("/")
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True, ignore=shutil.ignore_patterns(*skipped), dirs_exist_ok=True)
    elif path.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=False)


def _file_system(tree: Path, image: Path) -> Path:
    used_kib = int(subprocess.check_output(["du", "-sk", tree], text=True).split()[0])
    size = f"{used_kib // 1024 * 5 // 4 + _SPARE_MIB}M"
    subprocess.run(["/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-d", tree, image, size], check=True)
    shutil.rmtree(tree)
    return image


def _machine() -> tuple[Path, Path, Path]:
    """Kernel, initial RAM disk and root, made when there are none of this kind yet."""
    package = re.search(r"Depends: (linux-image-\S+)", _output("apt-cache", "depends", _KERNEL))
    if package is None:
        raise SystemExit(f"apt knows no package {_KERNEL}: run apt-get update")
    policy = _output("apt-cache", "policy", package[1])
    parts = [policy, *_PACKAGES, *((_FILES / name).read_text() for name in ("init", "initrd"))]
    kept = CACHE / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    found = kept / "vmlinuz", kept / "initrd", kept / "root.ext4"
    if kept.exists():
        return found
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.iterdir():
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as scratch:
        _make(Path(scratch), package[1])
        ready = Path(scratch) / "ready"
        ready.rename(kept)
    return found


def _make(scratch: Path, package: str) -> None:
    sys.stderr.write(f"in_a_vm: making a machine with {package} (once, some minutes)\n")
    scratch.chmod(0o755)
    root, ready = scratch / "root", scratch / "ready"
    ready.mkdir()
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    included = "--include=" + ",".join(_PACKAGES)
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=minbase", included, release[1] if release else "stable", root], check=True
    )
    subprocess.run(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], cwd=scratch, check=True)
    (archive,) = scratch.glob("linux-image-*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, scratch / "kernel"], check=True)
    (image,) = (scratch / "kernel" / "boot").glob("vmlinuz-*")
    version = image.name.removeprefix("vmlinuz-")
    shutil.copytree(scratch / "kernel" / "lib" / "modules", root / "lib" / "modules", dirs_exist_ok=True)
    subprocess.run(["chroot", root, "depmod", version], check=True)
    shutil.copy2(_FILES / "init", root / "sbin" / "in-a-vm")
    _ram_disk(scratch / "ram", root, version, ready / "initrd")
    image.rename(ready / "vmlinuz")
    _file_system(root, ready / "root.ext4")


def _ram_disk(tree: Path, root: Path, version: str, target: Path) -> None:
    for name in ("bin", "dev", "modules", "root"):
        (tree / name).mkdir(parents=True)
    shutil.copy2(root / "bin" / "busybox", tree / "bin" / "busybox")
    shutil.copy2(_FILES / "initrd", tree / "init")
    folder, order = root / "lib" / "modules" / version, _in_order(root / "lib" / "modules" / version / "modules.dep")
    for module in order:
        shutil.copy2(folder / module, tree / "modules")
    (tree / "modules" / "order").write_text("".join(f"{Path(module).name}\n" for module in order))
    names = "".join(f"{path.relative_to(tree)}\n" for path in sorted(tree.rglob("*")))
    busybox = [shutil.which("busybox") or "busybox", "cpio", "-o", "-H", "newc"]
    with target.open("wb") as output:
        subprocess.run(busybox, cwd=tree, input=names.encode(), stdout=output, stderr=subprocess.DEVNULL, check=True)


def _in_order(dependencies: Path) -> list[str]:
    """The modules that it takes, those first that others need: depmod names them last."""
    lines = (line.partition(":") for line in dependencies.read_text().splitlines())
    needed = {Path(module).stem: (module, rest.split()) for module, _, rest in lines}
    found = (each for name in _MODULES for each in (*reversed(needed[name][1]), needed[name][0]))
    return list(dict.fromkeys(found))


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
