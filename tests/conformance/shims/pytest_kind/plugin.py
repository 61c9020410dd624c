"""The command line option that kr8s' fixtures ask for."""

from typing import Any


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--keep-cluster", action="store_true", help="whoever made the cluster ends it")
