"""The suites of the official Python client, kr8s and kopf, and small programs with lightkube and the JavaScript client.

What is left out, and why, is in SKIPPED.md.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from foreign_suites import CONTAINER_TESTS, HERE, PYTEST, SUITES, passes
from live_api import Live, live_api

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]  # the first test installs the clients


def suite(suites: Any, folder: Path, name: str, tests: Sequence[str], *options: str) -> None:
    """Run a suite by pytest, without its own options, against a server of its own."""
    deselected = [f"--deselect={test}" for test in (*skipped(name), *CONTAINER_TESTS)]
    with live_api(folder / name) as live:
        passes(live, [suites.python, *PYTEST, *options, *tests, *deselected], _home(suites, name))


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
