"""Which runtime makes the containers of this machine: each is tried with a real container.

Our own code first, as it needs nothing and starts a container several times faster than crun and runc, which are tried
when it does not work here.
"""

import asyncio
import os
import shutil
from pathlib import Path

import msgspec

from fairway.engine.kubelet.runtime.client import Runtime
from fairway.engine.kubelet.runtime.errors import RuntimeRefused, RuntimeUnavailable
from fairway.engine.kubelet.runtime.model import ContainerSpec, Mount
from fairway.toolkit import logs

log = logs.get("kubelet")

BUILT_IN = "native"
_NAMES = ("crun", "runc")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROBE_ID = "probe"
_PROBE_SECONDS = 5.0
_ZYGOTE_SECONDS = 20.0
_ZYGOTE_PAUSE_SECONDS = 0.01
_FOLDERS = ("usr", "bin", "lib", "lib64")


class NoRuntime(Exception):
    """The runtime that was asked for does not work on this machine."""


def candidates(wanted: str) -> tuple[str, ...]:
    """Paths of the programs to try, best first; "" is our own code.  `auto` means all that are installed."""
    if wanted == BUILT_IN:
        return ("",)
    found = tuple(path for name in _NAMES if wanted in ("auto", name) and (path := shutil.which(name, path=_PATH)))
    return ("", *found) if wanted == "auto" else found


async def choose(wanted: str, run_dir: Path, zygote_socket: Path) -> Runtime:
    """The first candidate that runs a container.  Raises NoRuntime; TimeoutError without a zygote."""
    for path in candidates(wanted):
        runtime = Runtime(run_dir, zygote_socket, oci_runtime=path)
        if wanted == BUILT_IN or await _works_once_started(runtime, run_dir / "probe"):
            log.info("chose", runtime=path or BUILT_IN)
            return runtime
        log.warning("skipped", runtime=path or BUILT_IN)
    raise NoRuntime(f'runtime "{wanted}" does not work on this machine: use "auto" or "{BUILT_IN}"')


async def _works_once_started(runtime: Runtime, folder: Path) -> bool:
    """As `works`, but the zygote may just be starting, as everything is."""
    async with asyncio.timeout(_ZYGOTE_SECONDS):
        while True:
            try:
                return await works(runtime, folder)
            except RuntimeUnavailable:
                await asyncio.sleep(_ZYGOTE_PAUSE_SECONDS)


async def works(runtime: Runtime, folder: Path) -> bool:
    """Whether a container of this machine's own /usr runs `true` to its end; leaves nothing.  Raises OSError."""
    image = folder / "image"
    image.mkdir(parents=True, exist_ok=True)
    ended = asyncio.Event()
    runtime.subscribe(lambda name: ended.set() if name == _PROBE_ID else None)
    try:
        state = await runtime.start(_spec(folder, image))
        if state.status == "running":
            async with asyncio.timeout(_PROBE_SECONDS):
                await ended.wait()
            states = [each for each in await runtime.list() if each.id == _PROBE_ID]
            return bool(states) and states[0].exit_code == 0
        log.info("refused", runtime=runtime.oci_runtime or BUILT_IN, reason=state.message)
        return False
    except (RuntimeRefused, TimeoutError):
        return False
    finally:
        await runtime.remove(_PROBE_ID)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _spec(folder: Path, image: Path) -> ContainerSpec:
    mounts = []
    for name in _FOLDERS:
        place = Path("/") / name
        if place.is_symlink():
            (image / name).symlink_to(os.readlink(place))
        elif place.is_dir():
            mounts.append(Mount(str(place), f"/{name}", read_only=True))
    spec = ContainerSpec(
        id=_PROBE_ID,
        rootfs_layers=(str(image),),
        upper_dir=str(folder / "upper"),
        work_dir=str(folder / "work"),
        merged_dir=str(folder / "merged"),
        args=("/bin/true",),
        log_path=str(folder / "0.log"),
        state_path=str(folder / "state.json"),
        sandbox="",
    )
    return msgspec.structs.replace(spec, mounts=tuple(mounts), cgroup="fairway-probe/probe")
