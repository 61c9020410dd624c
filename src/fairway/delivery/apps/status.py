"""What an App tells of itself."""

from datetime import datetime

from fairway.delivery.apps.snapshot import Snapshot
from fairway.delivery.kinds.apps import AppStatus
from fairway.delivery.releases import reach
from fairway.kube.api.meta import Condition

_RUNNING = ("", "Queued", "Running")
_ROLLING = ("", "Pending", "Rolling")


def status(seen: Snapshot, problems: dict[str, str], url_suffix: str, git_url: str, now: datetime) -> AppStatus:
    """The status; `problems` are what stood in the way of this pass: condition type → message.

    `url_suffix` is the port that people need, such as ":8443", or "".
    """
    before = seen.app.status
    live = {one.name: release.metadata.name for one in seen.environments if (release := seen.live_release(one.name))}
    hosts = [host for one in seen.environments for host in one.domains if not host.startswith("*.")]
    return AppStatus(
        observed_generation=before.observed_generation if "Released" in problems else seen.app.metadata.generation,
        phase=_phase(seen, live, problems),
        conditions=_conditions(seen, problems, now),
        url=f"https://{hosts[0]}{url_suffix}" if hosts else "",
        commit=seen.head.commit or before.commit,
        last_run=seen.runs[-1].metadata.name if seen.runs else before.last_run,
        releases=live,
        released=_released(seen),
        git_url=git_url,
        **_hook_fields(seen),
    )


def _hook_fields(seen: Snapshot) -> dict[str, str]:
    """What was learnt from the forge; with nothing learnt in this life, what stood there."""
    before, source = seen.app.status, seen.app.spec.source
    if not source.repository:
        return {}
    bound = before.repository_id if before.repository_url == source.repository else ""
    learnt = seen.hook.repository_id if seen.hook is not None else ""
    webhook = seen.hook.id if seen.hook is not None and seen.hook.status == "True" else before.webhook
    known = bound or learnt
    return {
        "webhook": webhook if source.webhook else "",
        "repository_id": known,
        "repository_url": source.repository if known else "",
    }


def _released(seen: Snapshot) -> dict[str, int]:
    numbers = {run.metadata.name: run.spec.number for run in seen.runs}
    found = dict(seen.app.status.released)
    for release in seen.releases:
        name = release.spec.environment
        found[name] = max(found.get(name, 0), numbers.get(release.spec.run, 0))
    return found


def _phase(seen: Snapshot, live: dict[str, str], problems: dict[str, str]) -> str:
    if seen.runs and seen.runs[-1].status.phase in _RUNNING:
        return "Building"
    newest = [release for one in seen.environments if (release := seen.newest_release(one.name))]
    if any(release.status.phase in _ROLLING for release in newest):
        return "Deploying"
    if "Released" in problems or (seen.runs and seen.runs[-1].status.phase == "Failed"):
        return "Failed"
    if any(release.status.phase == "Failed" for release in newest):
        return "Failed"
    return "Live" if live else "Pending"


def _conditions(seen: Snapshot, problems: dict[str, str], now: datetime) -> tuple[Condition, ...]:
    verdicts = (
        _source(seen, problems),
        _domains(seen),
        _built(seen),
        _released_condition(seen, problems),
    )
    before = {one.type: one for one in seen.app.status.conditions}
    found = []
    kinds = ("SourceReady", "DomainsReady", "Built", "Released")
    told = [*zip(kinds, verdicts, strict=True), *_hook(seen), *_configured(seen)]
    for kind, (state, reason, message) in told:
        old = before.get(kind)
        since = old.last_transition_time if old is not None and old.status == state else now.replace(microsecond=0)
        found.append(Condition(type=kind, status=state, reason=reason, message=message, last_transition_time=since))
    return tuple(found)


def _hook(seen: Snapshot) -> list[tuple[str, tuple[str, str, str]]]:
    """Only Apps with a repository of their own that want a webhook have this condition."""
    source, hook = seen.app.spec.source, seen.hook
    if not source.repository or not source.webhook:
        return []
    if hook is not None:
        return [("HookReady", (hook.status, hook.reason, hook.message))]
    before = [one for one in seen.app.status.conditions if one.type == "HookReady"]
    return [("HookReady", (one.status, one.reason, one.message)) for one in before]


def _configured(seen: Snapshot) -> list[tuple[str, tuple[str, str, str]]]:
    """Only Apps with wishes that have no effect have this condition."""
    found = [text for one in seen.environments for text in reach.unmet(seen.app, one, seen.newest_release(one.name))]
    return [("Configured", ("False", "NotApplied", "; ".join(found)))] if found else []


def _source(seen: Snapshot, problems: dict[str, str]) -> tuple[str, str, str]:
    if problem := problems.get("SourceReady") or seen.head.problem:
        return "False", "Unreachable", problem
    if not seen.head.commit:
        branch = seen.app.spec.source.branch
        return "Unknown", "NoCommit", f"branch {branch} has no commit yet: git push fairway {branch}"
    return "True", "Found", f"{seen.app.spec.source.branch} is at {seen.head.commit[:12]}"


def _domains(seen: Snapshot) -> tuple[str, str, str]:
    if seen.refused:
        return "False", "Refused", "; ".join(seen.refused.values())
    return "True", "Claimed", ", ".join(seen.held) or "no domain is wished for"


def _built(seen: Snapshot) -> tuple[str, str, str]:
    if not seen.runs:
        return "Unknown", "NoRun", "nothing has been built yet"
    newest = seen.runs[-1]
    phase = newest.status.phase or "Queued"
    state = {"Succeeded": "True", "Failed": "False"}.get(phase, "Unknown")
    return state, phase, newest.status.message or f"run {newest.metadata.name}"


def _released_condition(seen: Snapshot, problems: dict[str, str]) -> tuple[str, str, str]:
    if problem := problems.get("Released"):
        return "False", "Refused", problem
    newest = [release for one in seen.environments if (release := seen.newest_release(one.name))]
    if not newest:
        return "Unknown", "NoRelease", "nothing has been released yet"
    failed = [release for release in newest if release.status.phase == "Failed"]
    if failed:
        return "False", failed[0].status.reason or "Failed", failed[0].status.message
    rolling = [release for release in newest if release.status.phase in _ROLLING]
    if rolling:
        return "Unknown", "Rolling", f"{rolling[0].metadata.name} is rolling out"
    return "True", "Live", ", ".join(release.metadata.name for release in newest)
