"""Claims of real pods: made with the first consumer, kept from pod to pod, ended with the claim."""

import pytest
from cluster import Cluster
from space import Kubectl

pytestmark = pytest.mark.real

MANIFEST = """
apiVersion: v1
kind: Namespace
metadata: {name: storage}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: storage}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      shareProcessNamespace: true
      initContainers:
      - {name: side, image: busybox, imagePullPolicy: Never, restartPolicy: Always, command: [sleep, "4242"]}
      containers:
      - name: c
        image: busybox
        imagePullPolicy: Never
        command: [sh, -c, "echo started >> /data/times; exec sleep 100000"]
        env: [{name: SELF, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
        volumeMounts: [{name: data, mountPath: /data}, {name: data, mountPath: /own, subPathExpr: $(SELF)}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
"""


def test_a_stateful_set_keeps_its_data(fairway_cluster: Cluster) -> None:
    kubectl, here = fairway_cluster.kubectl, ("-n", "storage")
    fairway_cluster.apply(MANIFEST)
    kubectl(*here, "rollout", "status", "statefulset/db", "--timeout=60s")
    space = Kubectl(fairway_cluster, "storage")
    shows = ("exec", "db-0", "-c", "c", "--", "sh", "-c")
    space.until(lambda: space(*shows, "cat /data/times"), lambda said: said == "started\n", "its first words")
    looked = space(*shows, "ls /data /own; ps")
    assert "db-0" in looked and "times" in looked and "sleep 4242" in looked
    space("delete", "pod", "db-0")
    kubectl(*here, "wait", "--for=create", "pod/db-0", "--timeout=60s")
    kubectl(*here, "wait", "--for=condition=Ready", "pod/db-0", "--timeout=60s")
    space.until(lambda: space(*shows, "cat /data/times"), lambda said: said == "started\n" * 2, "those of both")
    (claim,) = fairway_cluster.objects("persistentvolumeclaims", *here)
    folder = fairway_cluster.state_dir / "volumes" / f"{claim['spec']['volumeName']}_storage_data-db-0"
    assert (folder / "times").exists()
    kubectl(*here, "delete", "statefulset", "db")
    kubectl(*here, "delete", "persistentvolumeclaim", "--all", "--timeout=60s")
    space.until(folder.exists, lambda there: not there, "its folder gone")
    kubectl("wait", "--for=delete", f"persistentvolume/{claim['spec']['volumeName']}", "--timeout=60s")
    kubectl("delete", "namespace", "storage", "--timeout=120s")
