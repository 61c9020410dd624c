"""Leave nothing of containers and pods that are over."""

import asyncio
import shutil

from fairway.engine.kubelet.record import PodRecord
from fairway.engine.kubelet.tools import Tools

_RUNS_KEPT = 2


async def discard_container(tools: Tools, id: str) -> None:
    """Remove an ended run from the runtime, with its writable layer.  Raises OSError."""
    await tools.runtime.remove(id)
    tools.states.forget(id)
    await asyncio.to_thread(shutil.rmtree, tools.config.container_dir(id), ignore_errors=True)


async def discard_pod(tools: Tools, record: PodRecord) -> None:
    """Delete the volumes, logs and record of a pod, in a thread because they may be large.  Raises OSError."""
    tools.pulls.forget(record.uid)
    folder = tools.config.log_dir(record.namespace, record.name, record.uid)
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    await asyncio.to_thread(tools.volumes.discard, record.uid)


def discard_old_logs(tools: Tools, record: PodRecord, container: str, attempt: int) -> None:
    """Keep the logs and last words of the newest runs only, as many as `logs --previous` can ask for."""
    oldest = attempt - _RUNS_KEPT + 1
    logs = tools.config.log_dir(record.namespace, record.name, record.uid) / container
    messages = tools.config.pod_dir(record.uid) / "containers" / container
    for path in (*logs.glob("*.log*"), *messages.glob("*.message")):
        number = path.name.partition(".")[0]
        if number.isdigit() and int(number) < oldest:
            path.unlink(missing_ok=True)
