"""In place of the package pytest-kind: the cluster is the server under test."""

from pytest_kind.cluster import KindCluster as KindCluster
