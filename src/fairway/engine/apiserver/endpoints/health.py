"""/healthz, /livez, /readyz and /version."""

from collections.abc import Callable, Mapping

from fairway.engine.apiserver.endpoints import answers
from fairway.engine.apiserver.endpoints.queries import Query
from fairway.kube.api.release import KUBERNETES
from fairway.toolkit.http_messages import Response

Check = Callable[[], str]
"""Gives an empty string, or what is wrong."""

HEALTH_PROBES = ("healthz", "livez", "readyz")

VERSION = {
    "major": "1",
    "minor": "33",
    "emulationMajor": "1",
    "emulationMinor": "33",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "32",
    "gitVersion": f"{KUBERNETES}+fairway",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2025-04-23T00:00:00Z",
    "goVersion": "",
    "compiler": "python",
    "platform": "linux/amd64",
}


class Health:
    """Named checks behind three paths. `live` leaves out what a restart would not mend."""

    def __init__(self, checks: Mapping[str, Check], only_ready: Mapping[str, Check]) -> None:
        self._live = {"ping": lambda: "", **checks}
        self._ready = {**self._live, **only_ready}

    @property
    def checks(self) -> dict[str, Mapping[str, Check]]:
        """By probe, and by name."""
        return {"healthz": self._live, "livez": self._live, "readyz": self._ready}

    def answer(self, path: str, query: Query) -> Response | None:
        """None when the path is no health check."""
        _, probe, *rest = path.rstrip("/").split("/")
        checks = self._ready if probe == "readyz" else self._live
        if not rest:
            return _report(probe, checks, set(query.get("exclude", "").split(",")), verbose="verbose" in query)
        if len(rest) == 1 and rest[0] in checks:
            return _report(probe, {rest[0]: checks[rest[0]]}, set(), verbose="verbose" in query)
        return None


def _report(probe: str, checks: Mapping[str, Check], excluded: set[str], *, verbose: bool) -> Response:
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
            continue
        wrong = check()
        failed = failed or bool(wrong)
        lines.append(f"[-]{name} failed: {wrong}" if wrong else f"[+]{name} ok")
    if failed:
        return answers.text("\n".join([*lines, f"{probe} check failed", ""]), 500)
    return answers.text("\n".join([*lines, f"{probe} check passed", ""]) if verbose else "ok")
