"""All controllers in one task group, each restarted by itself when it breaks."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from fairway.engine.controllers.caches import Caches
from fairway.engine.controllers.cronjob.controller import run as run_cron_jobs
from fairway.engine.controllers.daemonset.controller import run as run_daemon_sets
from fairway.engine.controllers.deployment.controller import run as run_deployments
from fairway.engine.controllers.endpointslice.controller import run as run_endpoint_slices
from fairway.engine.controllers.garbage.controller import run as run_garbage
from fairway.engine.controllers.horizontalpodautoscaler.controller import run as run_autoscalers
from fairway.engine.controllers.job.controller import run as run_jobs
from fairway.engine.controllers.namespace.controller import run as run_namespaces
from fairway.engine.controllers.node.controller import run as run_nodes
from fairway.engine.controllers.persistentvolume.controller import run as run_volumes
from fairway.engine.controllers.poddisruptionbudget.controller import run as run_disruption_budgets
from fairway.engine.controllers.replicaset.controller import run as run_replica_sets
from fairway.engine.controllers.resourcequota.controller import run as run_resource_quotas
from fairway.engine.controllers.serviceaccount.controller import run as run_service_accounts
from fairway.engine.controllers.statefulset.controller import run as run_stateful_sets
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.reflector import run_reflectors, wait_synced
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("controllers")
_BACKOFF_SECONDS_MIN = 0.5
_BACKOFF_SECONDS_MAX = 30.0
_STABLE_SECONDS = 60.0

Run = Callable[[ApiClient, Caches, Clock], Awaitable[None]]

CONTROLLERS: tuple[tuple[str, Run], ...] = (
    ("deployment", run_deployments),
    ("replicaset", run_replica_sets),
    ("statefulset", run_stateful_sets),
    ("daemonset", run_daemon_sets),
    ("job", run_jobs),
    ("cronjob", run_cron_jobs),
    ("horizontalpodautoscaler", run_autoscalers),
    ("poddisruptionbudget", run_disruption_budgets),
    ("resourcequota", run_resource_quotas),
    ("endpointslice", run_endpoint_slices),
    ("namespace", run_namespaces),
    ("garbage", run_garbage),
    ("node", run_nodes),
)


async def run(client: ApiClient, clock: Clock, *, root_ca: bytes = b"", volumes_dir: Path | None = None) -> None:
    """Run them all until cancelled.

    With the cluster's CA (PEM), every namespace gets it as `kube-root-ca.crt`. With `volumes_dir`, claims get volumes:
    folders below it on this machine.
    """
    caches = Caches(client, clock)
    accounts: Run = partial(run_service_accounts, pem=root_ca.decode())
    more: list[tuple[str, Run]] = [("serviceaccount", accounts)]
    if volumes_dir is not None:
        more.append(("persistentvolume", partial(run_volumes, volumes_dir=volumes_dir)))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(*caches.all))
        await wait_synced(*caches.all)
        for name, start in (*CONTROLLERS, *more):
            tasks.create_task(kept_running(name, partial(_borrowing, start, client, caches, clock), clock))


async def _borrowing(start: Run, client: ApiClient, caches: Caches, clock: Clock) -> None:
    """A controller that is started again must not be heard twice: its subscriptions end when it does."""
    with caches.borrow() as lent:
        await start(client, lent, clock)


async def kept_running(name: str, start: Callable[[], Awaitable[None]], clock: Clock) -> None:
    """One controller that breaks must not take the others along."""
    backoff_seconds = _BACKOFF_SECONDS_MIN
    while True:
        started = clock.monotonic()
        try:
            await start()
        except Exception as error:
            if clock.monotonic() - started > _STABLE_SECONDS:
                backoff_seconds = _BACKOFF_SECONDS_MIN
            log.error("broke", controller=name, error=_cause(error), restart_seconds=backoff_seconds)
        await clock.sleep(backoff_seconds)
        backoff_seconds = min(backoff_seconds * 2, _BACKOFF_SECONDS_MAX)


def _cause(error: BaseException) -> str:
    """What really went wrong inside task groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"
