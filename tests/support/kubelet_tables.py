"""Pods and what is seen of them, in one line each."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fairway.engine.kubelet.snapshot import ContainerSeen, PodSeen, Termination
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.pods import Container, Pod, PodSpec, PodStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
APP, SIDE, INIT, LAST = "app", "side", "init", "last"


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def pod(*names: str, init: tuple[str, ...] = (), deleted: bool = False, **changes: Any) -> Pod:
    """A pod with an image named like each container; init containers whose name begins with `side` are sidecars."""
    status = changes.pop("status", PodStatus())
    return Pod(
        metadata=ObjectMeta(name="p", namespace="n", uid="u", deletion_timestamp=NOW if deleted else None),
        spec=PodSpec(
            containers=tuple(Container(name=name, image=name) for name in names or (APP,)),
            init_containers=tuple(
                Container(name=name, image=name, restart_policy="Always" if name.startswith(SIDE) else None)
                for name in init
            ),
            **changes,
        ),
        status=status,
    )


def runs(name: str = APP, **changes: Any) -> ContainerSeen:
    known = {"id": f"{name}-0", "image": name, "started": True, "ready": True, "started_at": ago(60)}
    return ContainerSeen(name=name, status="running", **(known | changes))


def ended(name: str = APP, code: int = 1, *, since: float = 0, **changes: Any) -> ContainerSeen:
    finished = Termination(exit_code=code, container_id=f"{name}-0", finished_at=ago(since))
    return ContainerSeen(name=name, id=f"{name}-0", image=name, status="exited", termination=finished, **changes)


def seen(*containers: ContainerSeen, sandbox: bool = True, **changes: Any) -> PodSeen:
    return PodSeen(now=NOW, sandbox=sandbox, containers={each.name: each for each in containers}, **changes)
