"""Options of the whole suite."""

import os

import pytest

# Clusters of tests leave the host's network alone; those that are about egress ask for it.
os.environ["FAIRWAY_EGRESS"] = "none"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files; then read the diff")
