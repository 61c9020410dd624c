"""Options of the whole suite."""

import os

import hypothesis
import pytest
import shared

# Clusters of tests leave the host's network alone; those that are about egress ask for it.
os.environ["FAIRWAY_EGRESS"] = "none"


# What takes longest, longest first: it begins first when files are spread over processes. Others follow as they come.
LONG = (
    "test_conformance_suites.py",
    "test_anomaly_delivery.py",
    "test_e2e_documents_pipeline.py",
    "test_e2e_dockerfiles.py",
    "test_e2e_autoscaler.py",
    "test_e2e_delivery_failures.py",
    "test_delivery_pipelines_real.py",
    "test_delivery_releases_kill.py",
    "test_delivery_pipelines_runs.py",
)

_TOLD_CHARACTERS_MAX = 3000


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(LONG)}
        items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


def pytest_configure(config: pytest.Config) -> None:
    # The machine is busy with other tests. A whole run says the same of the same code; a file alone draws anew.
    whole = hasattr(config, "workerinput")
    hypothesis.settings.register_profile("patient", deadline=None, derandomize=whole)
    hypothesis.settings.load_profile("patient")
    config.add_cleanup(shared.begin())
    if config.getoption("numprocesses", None):
        config.pluginmanager.register(AtOnce(config))


class AtOnce:
    """Tells what failed when it fails: the end of a run, where pytest does, may be a quarter of an hour away."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            terminal.ensure_newline()
            terminal.write_line(f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)")
            terminal.write_line(report.longreprtext[-_TOLD_CHARACTERS_MAX:])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; then read the diff")
