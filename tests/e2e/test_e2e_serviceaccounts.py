"""Pods that read the API with the token that is mounted into them."""

import base64
import json
import os
import signal
import time

import pytest
from cluster import Cluster

pytestmark = pytest.mark.real

CODE = """
import json, ssl, sys, urllib.error, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
token, namespace = open(folder + "token").read(), open(folder + "namespace").read()
context = ssl.create_default_context(cafile=folder + "ca.crt")
def get(path):
    url = "https://kubernetes.default.svc" + path
    request = urllib.request.Request(url, headers={"Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError as error:
        body = json.load(error)
    return body.get("message") or [item["metadata"]["name"] for item in body["items"]]
print(json.dumps([namespace, get(f"/api/v1/namespaces/{namespace}/pods"), get("/api/v1/nodes")]))
"""


def manifest(namespace: str) -> str:
    code = json.dumps(CODE)
    pods = "\n---\n".join(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  restartPolicy: Never
  serviceAccountName: {account}
  containers:
  - {{name: read, image: "python:3-slim", command: [python3, -c, {code}]}}
"""
        for name, account in (("plain", "default"), ("reader", "reader"))  # the last lists both
    )
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: reader, namespace: {namespace}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: reader, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}}
subjects: [{{kind: ServiceAccount, name: reader, namespace: {namespace}}}]
---
{pods}
"""


def test_pods_read_what_their_account_may(fairway_cluster: Cluster) -> None:
    cluster, namespace = fairway_cluster, "accounts"
    cluster.apply(manifest(namespace))
    phase = "--for=jsonpath={.status.phase}=Succeeded"
    cluster.kubectl("-n", namespace, "wait", phase, "pod/reader", "pod/plain", "--timeout=90s")
    own, listed, nodes = json.loads(cluster.kubectl("-n", namespace, "logs", "reader"))
    user = f'User "system:serviceaccount:{namespace}:reader"'
    assert (own, set(listed)) == (namespace, {"reader", "plain"})
    assert nodes == f'nodes is forbidden: {user} cannot list resource "nodes" in API group "" at the cluster scope'
    _, refused, _ = json.loads(cluster.kubectl("-n", namespace, "logs", "plain"))
    assert refused.startswith(f'pods is forbidden: User "system:serviceaccount:{namespace}:default" cannot list')
    cluster.kubectl("delete", "namespace", namespace, "--timeout=120s")


def test_a_token_is_a_login(fairway_cluster: Cluster) -> None:
    cluster = fairway_cluster
    token = cluster.kubectl("create", "token", "default", "--duration=10m").strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    path = cluster.state_dir / "token.kubeconfig"
    path.write_text(json.dumps(config))
    said = cluster.kubectl("--kubeconfig", str(path), "auth", "whoami", "-o", "json")
    assert json.loads(said)["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
    assert cluster.kubectl("--kubeconfig", str(path), "auth", "can-i", "list", "pods", check=False).strip() == "no"
    cluster.kill_engine()
    again = cluster.kubectl("--kubeconfig", str(path), "auth", "whoami", "-o", "json")
    assert json.loads(again)["status"] == json.loads(said)["status"], "the key is kept"


ROTATED = """
apiVersion: v1
kind: Pod
metadata: {name: rotated, namespace: default}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: busybox
    imagePullPolicy: Never
    command: [sleep, "100000"]
    volumeMounts: [{name: token, mountPath: /token}]
  volumes:
  - name: token
    projected: {sources: [{serviceAccountToken: {path: it, expirationSeconds: 600}}]}
"""


def test_a_running_container_gets_a_new_token_and_the_old_one_stays_valid(fairway_cluster: Cluster) -> None:
    """A new engine knows no tokens and asks for new ones at once, so nobody has to wait 480 of the 600 seconds."""
    cluster, read = fairway_cluster, ("exec", "rotated", "--", "cat", "/token/it")
    cluster.apply(ROTATED)
    cluster.kubectl("wait", "--for=condition=Ready", "pod/rotated", "--timeout=60s")
    old = cluster.kubectl(*read)
    os.kill(cluster.engine_pid(), signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (new := cluster.kubectl(*read, check=False)) == old or new.count(".") != 2 or len(new.split()) != 1:
        assert time.monotonic() < deadline, "the token is still the old one"
        time.sleep(0.2)
    cluster.until_api_answers()
    (pod,) = cluster.objects("pods", "--field-selector", "metadata.name=rotated")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    for token in (old, new):
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        made = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", text=json.dumps(review)))
        assert made["status"]["user"]["username"] == "system:serviceaccount:default:default"
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert 0 < claims["exp"] - time.time() <= 607 and claims["kubernetes.io"]["pod"]["name"] == "rotated"
    cluster.kubectl("delete", "pod", "rotated", "--timeout=60s")
    gone = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": new}}
    made = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", text=json.dumps(gone)))
    assert not made["status"].get("authenticated"), "a token ends with its pod"
