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
    "test_e2e_autoscaler.py",
    "test_e2e_delivery_failures.py",
    "test_delivery_pipelines_real.py",
    "test_delivery_releases_kill.py",
    "test_delivery_pipelines_runs.py",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        rank = {name: number for number, name in enumerate(LONG)}
        items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


def pytest_configure(config: pytest.Config) -> None:
    hypothesis.settings.register_profile("patient", deadline=None)  # the machine is busy with other tests
    hypothesis.settings.load_profile("patient")
    config.add_cleanup(shared.begin())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; then read the diff")
