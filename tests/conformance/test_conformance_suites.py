"""The suites of the official Python client, kr8s and kopf, and small programs with lightkube and the JavaScript client.

What is left out, and why, is in SKIPPED.md.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from live_api import Live, live_api

pytestmark = pytest.mark.real

HERE = Path(__file__).parent
_SECONDS = 280
SUITES: dict[str, tuple[Sequence[str], *tuple[str, ...]]] = {
    "kubernetes": (["kubernetes/dynamic"],),
    "kr8s": (
        ["kr8s/tests/test_api.py", "kr8s/tests/test_objects.py", "kr8s/tests/test_auth.py"],
        "--timeout=30",
        "--override-ini=asyncio_mode=auto",
        "-ppytest_kind.plugin",
        "--keep-cluster",
    ),
    "kopf": (["tests/e2e", "examples"], "--only-e2e", "--timeout=60"),
}


def environment(live: Live, **more: str) -> dict[str, str]:
    """What a program needs to find the server; its home is the server's folder."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "KUBE"))},
        "KUBECONFIG": str(live.kubeconfig),
        "KUBECONFIG_LIVE": str(live.kubeconfig),
        "HOME": str(live.folder),
        "PYTHONPATH": str(HERE / "shims"),
        **more,
    }


def passes(live: Live, command: Sequence[str | Path], folder: Path, **more: str) -> str:
    """Run a program to its end; its output is the failure's message."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment(live, **more),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    return done.stdout


def suite(suites: Any, folder: Path, name: str, tests: Sequence[str], *options: str) -> None:
    """Run a suite by pytest, without its own options, against a server of its own."""
    command = [suites.python, "-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "-W", "ignore"]
    deselected = [f"--deselect={test}" for test in skipped(name)]
    with live_api(folder / name) as live:
        passes(live, [*command, "--tb=short", *options, *tests, *deselected], _home(suites, name))


def _home(suites: Any, name: str) -> Path:
    """Where the suite's tests are."""
    found: Path = suites.package("kubernetes").parent if name == "kubernetes" else suites.source(name)
    return found


@pytest.fixture(scope="module")
def running(suites: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, "Future[None]"]]:
    """The suites mostly wait, so they run side by side."""
    folder = tmp_path_factory.mktemp("suites")
    with ThreadPoolExecutor(max_workers=len(SUITES)) as pool:
        yield {name: pool.submit(suite, suites, folder, name, *arguments) for name, arguments in SUITES.items()}


def skipped(name: str) -> list[str]:
    """The tests that SKIPPED.md names for a suite."""
    section = (HERE / "SKIPPED.md").read_text().partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert section, f"SKIPPED.md has no section {name}"
    return [line.split("`")[1] for line in section.splitlines() if line.startswith("- `")]


def test_lightkube(live: Live, suites: Any, running: Any) -> None:
    assert passes(live, [suites.python, HERE / "clients/lightkube_client.py"], live.folder).endswith("fine\n")


def test_javascript_client(live: Live, suites: Any, running: Any) -> None:
    script = suites.folder / "node/client.mjs"
    script.write_text((HERE / "clients/javascript.mjs").read_text())  # modules are looked for beside the script
    assert passes(live, ["node", script], live.folder).endswith("fine\n")


@pytest.mark.parametrize("name", sorted(SUITES))
def test_suite(running: dict[str, "Future[None]"], name: str) -> None:
    running[name].result()
