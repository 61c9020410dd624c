"""`fairway pipelines`: runs, their logs, and how to end or repeat one."""

import argparse
import getpass
from datetime import datetime

from fairway.cli import terminal
from fairway.cli.delivery import endpoint
from fairway.cli.delivery.apps import actor, age, phase, read, runs_of
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.resources import APP_LABEL, APPS, PIPELINE_RUNS
from fairway.delivery.kinds.runs import ENDED, PipelineRun, run_name
from fairway.kube.api.noun import decode
from fairway.kube.client.errors import AlreadyExists

VERBS = ("list", "logs", "cancel", "retry")
_MARKS = {"Succeeded": ("✔", "green"), "Failed": ("✘", "red"), "Running": ("•", "cyan"), "Cancelled": ("-", "yellow")}


async def pipelines(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """List, or do one thing with one run."""
    if arguments.verb == "list":
        return await _list(cluster, arguments.name)
    run = await _run(cluster, arguments.name, arguments.number)
    if arguments.verb == "cancel":
        return await _cancel(cluster, run)
    if arguments.verb == "retry":
        return await _retry(cluster, arguments.name, run)
    await endpoint.show_log(cluster, run, follow=arguments.follow)
    return 0


async def _list(cluster: Cluster, app: str) -> int:
    fields = f"spec.app={app}" if app else ""
    if app:
        try:
            await read(cluster, app)
        except Mistake:
            if app in VERBS:
                raise Mistake(f"name the app first: fairway pipelines APP {app}") from None
            raise
    found = await cluster.client.list(PIPELINE_RUNS, cluster.namespace, fields=fields)
    runs = sorted((decode(PipelineRun, raw) for raw in found.items), key=_began, reverse=True)
    if not runs:
        print("No runs yet: a push starts one")
        return 0
    rows = [
        (
            terminal.paint(run.metadata.name, "bold"),
            phase(run.status.phase or "Queued"),
            run.spec.commit[:8],
            run.spec.message[:40],
            run.spec.trigger.kind + (f" by {actor(run.spec.trigger.actor)}" if run.spec.trigger.actor else ""),
            _steps(run),
            _lasted(run),
            age(run.metadata.creation_timestamp),
        )
        for run in runs
    ]
    print(
        terminal.table(
            ("RUN", "STATUS", "COMMIT", "MESSAGE", "WHY", "STEPS", "TOOK", "AGE"),
            rows,
            shorten=("WHY", "MESSAGE"),
            spare=("COMMIT", "WHY", "MESSAGE"),
        )
    )
    return 0


def _began(run: PipelineRun) -> tuple[float, int]:
    created = run.metadata.creation_timestamp
    return (created.timestamp() if created else 0.0, run.spec.number)


def _steps(run: PipelineRun) -> str:
    marks = (_MARKS.get(step.phase, ("·", "dim")) for step in run.status.steps)
    return "".join(terminal.paint(mark, style) for mark, style in marks) or "-"


def _lasted(run: PipelineRun) -> str:
    began, ended = run.status.started_at, run.status.finished_at
    return f"{_seconds(began, ended):.1f}s" if began and ended else "-"


def _seconds(began: datetime, ended: datetime) -> float:
    return (ended - began).total_seconds()


async def _run(cluster: Cluster, app: str, number: str) -> PipelineRun:
    if not app:
        raise Mistake("name the app: fairway pipelines APP logs|cancel|retry [N]")
    await read(cluster, app)
    runs = await runs_of(cluster, app)
    if not runs:
        raise Mistake(f"App {app} has no runs yet")
    if not number:
        return runs[-1]
    wanted = number.rpartition("-")[2]
    found = next((run for run in runs if str(run.spec.number) == wanted), None)
    if found is None:
        raise Mistake(f"App {app} has no run {number!r}; there are {runs[0].spec.number} to {runs[-1].spec.number}")
    return found


async def _cancel(cluster: Cluster, run: PipelineRun) -> int:
    name = run.metadata.name
    if run.status.phase in ENDED:
        raise Mistake(f"run {name} has ended already: {run.status.phase}")
    await cluster.client.patch(PIPELINE_RUNS, name, {"spec": {"cancelled": True}}, namespace=cluster.namespace)
    terminal.ok(f"run {name} is told to end")
    return 0


async def _retry(cluster: Cluster, app: str, run: PipelineRun) -> int:
    """The same commit again, as a run of its own."""
    if run.status.phase not in ENDED:
        raise Mistake(f"run {run.metadata.name} has not ended yet: fairway pipelines {app} cancel, and then this again")
    owner = await cluster.client.get(APPS, app, cluster.namespace)
    number = (await runs_of(cluster, app))[-1].spec.number + 1
    spec = {"app": app, "number": number, "commit": run.spec.commit, "ref": run.spec.ref, "message": run.spec.message}
    metadata = {
        "name": run_name(app, number),
        "namespace": cluster.namespace,
        "labels": {APP_LABEL: app},
        "ownerReferences": [
            {
                "apiVersion": APPS.api_version,
                "kind": APPS.kind,
                "name": app,
                "uid": owner["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    trigger = {"kind": "retry", "delivery": run.metadata.name, "actor": getpass.getuser()}
    raw = {"apiVersion": PIPELINE_RUNS.api_version, "kind": PIPELINE_RUNS.kind, "metadata": metadata}
    try:
        await cluster.client.create(PIPELINE_RUNS, {**raw, "spec": {**spec, "trigger": trigger}})
    except AlreadyExists:
        raise Mistake("a newer run has just begun; look at fairway pipelines") from None
    terminal.ok(f"run {run_name(app, number)} repeats {run.metadata.name} ({run.spec.commit[:8]})")
    return 0
