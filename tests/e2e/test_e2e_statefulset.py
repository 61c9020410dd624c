"""StatefulSets that roll out in part."""

import json
import time

import pytest
from cluster import Cluster

pytestmark = pytest.mark.real
_MANIFEST = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  serviceName: {name}
  replicas: 3
  podManagementPolicy: {policy}
  updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: {partition}}}}}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{name: c, image: busybox, command: [sleep, "1000"], env: [{{name: VERSION, value: "{version}"}}]}}
"""


def versions(cluster: Cluster, name: str) -> list[str]:
    pods = sorted(cluster.objects("pods", "-l", f"app={name}"), key=lambda pod: pod["metadata"]["name"])
    return [pod["spec"]["containers"][0]["env"][0]["value"] for pod in pods]


def test_a_partition_keeps_the_lower_ones_as_they_are(fairway_cluster: Cluster) -> None:
    settings = {"name": "parted", "policy": "Parallel"}
    fairway_cluster.apply(_MANIFEST.format(version="1", partition=0, **settings))
    fairway_cluster.kubectl("rollout", "status", "statefulset/parted", "--timeout=60s")
    assert versions(fairway_cluster, "parted") == ["1", "1", "1"]
    fairway_cluster.apply(_MANIFEST.format(version="2", partition=2, **settings))
    said = fairway_cluster.kubectl("rollout", "status", "statefulset/parted", "--timeout=60s")
    assert "partitioned roll out complete: 1 new pods have been updated..." in said
    assert versions(fairway_cluster, "parted") == ["1", "1", "2"]
    status = json.loads(fairway_cluster.kubectl("get", "statefulset", "parted", "-o", "json"))["status"]
    assert status["updatedReplicas"] == 1 and status["currentRevision"] != status["updateRevision"]
    fairway_cluster.kubectl("delete", "pod", "parted-0", "--wait=true")
    deadline = time.monotonic() + 60  # `rollout status` may still see the one that was deleted
    while len(found := versions(fairway_cluster, "parted")) != 3:
        assert time.monotonic() < deadline, found
    assert found == ["1", "1", "2"]  # made anew, and still the old one
    fairway_cluster.apply(_MANIFEST.format(version="2", partition=0, **settings))
    fairway_cluster.kubectl("rollout", "status", "statefulset/parted", "--timeout=60s")
    assert versions(fairway_cluster, "parted") == ["2", "2", "2"]
    fairway_cluster.kubectl("delete", "statefulset", "parted", "--cascade=foreground")
