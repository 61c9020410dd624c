"""exec and port-forward with a small WebSocket client, in every protocol that clients may choose."""

import base64
import json
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from cluster import Cluster
from websocket_client import Client, status

from fairway.toolkit.websocket import TEXT

pytestmark = pytest.mark.real

NAMESPACE = "websockets"
POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: box, namespace: {NAMESPACE}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    imagePullPolicy: Never
    command: [httpd, -f, -p, "127.0.0.1:8080", -h, /etc]
    startupProbe:
      exec: {{command: [wget, -qO, /dev/null, "http://127.0.0.1:8080/hostname"]}}
      periodSeconds: 1
      timeoutSeconds: 10
      failureThreshold: 60
"""


@pytest.fixture(scope="module")
def box(fairway_cluster: Cluster) -> Iterator[Cluster]:
    fairway_cluster.kubectl("create", "namespace", NAMESPACE)
    fairway_cluster.apply(POD)
    fairway_cluster.kubectl("-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/box", "--timeout=60s")
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=true", "--timeout=120s")


def run(cluster: Cluster, *command: str, protocols: tuple[str, ...] = ("v4.channel.k8s.io",), **flags: str) -> Client:
    query = urlencode([*(("command", word) for word in command), *flags.items()])
    return Client(cluster.kubeconfig, f"/api/v1/namespaces/{NAMESPACE}/pods/box/exec?{query}", *protocols)


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "v5.channel.k8s.io", "v4.base64.channel.k8s.io"])
def test_exec_gives_output_errors_and_a_status(box: Cluster, protocol: str) -> None:
    client = run(box, "sh", "-c", "echo out; echo err >&2; exit 9", protocols=(protocol,), stdout="true", stderr="true")
    assert (client.status, client.subprotocol) == (101, protocol)
    channels = client.channels()
    assert (channels[1], channels[2]) == (b"out\n", b"err\n")
    assert status(channels)["details"] == {"causes": [{"reason": "ExitCode", "message": "9"}]}
    assert (status(channels)["status"], status(channels)["reason"]) == ("Failure", "NonZeroExitCode")


@pytest.mark.parametrize("protocols", [(), ("channel.k8s.io",), ("base64.channel.k8s.io",)])
def test_the_oldest_protocols_have_words_for_errors(box: Cluster, protocols: tuple[str, ...]) -> None:
    channels = run(box, "sh", "-c", "echo out; exit 9", protocols=protocols).channels()
    assert channels[1] == b"out\n"
    assert b"exit code: 9" in channels[3]
    assert 3 not in run(box, "true", protocols=protocols).channels()


def test_success_is_a_status_too(box: Cluster) -> None:
    assert status(run(box, "true").channels()) == {"metadata": {}, "status": "Success"}


def test_a_program_that_is_not_there(box: Cluster) -> None:
    answer = status(run(box, "nothing").channels())
    assert (answer["status"], answer["reason"], answer["code"]) == ("Failure", "InternalError", 500)
    assert 'exec: "nothing": executable file not found in $PATH' in answer["message"]


def test_input_in_pieces_pings_and_the_end_of_the_input(box: Cluster) -> None:
    client = run(box, "cat", protocols=("v5.channel.k8s.io",), stdin="true")
    client.send(b"\0one ")
    client.ping(b"still there?")
    client.send(b"\0two")
    client.send(b"\xff\0")
    channels = client.channels()
    assert (channels[1], channels[-1]) == (b"one two", b"still there?")
    assert status(channels)["status"] == "Success"


def test_input_in_base64(box: Cluster) -> None:
    client = run(box, "head", "-c", "7", protocols=("v4.base64.channel.k8s.io",), stdin="true")
    client.send(b"0" + base64.b64encode(b"one two"), TEXT)
    assert client.channels()[1] == b"one two"


def test_a_terminal_is_resized(box: Cluster) -> None:
    # A terminal has no size before the first message about it, and busybox's stty complains of that.
    script = "while [ \"$(stty size 2>/dev/null)\" != '12 34' ]; do sleep 0.05; done; echo resized"
    client = run(box, "sh", "-c", script, stdin="true", tty="true")
    client.send(b"\4" + json.dumps({"Width": 34, "Height": 12}).encode())
    assert client.channels()[1] == b"resized\r\n"


@pytest.mark.parametrize("nonsense", [b"\x81\x05Hello", b"\xff\xff\xff\xff", b"\x83\x80abcd"])
def test_broken_frames_end_the_command(box: Cluster, nonsense: bytes) -> None:
    client = run(box, "sleep", "3333", stdin="true")
    client.sock.sendall(nonsense)
    assert client.messages() == []
    deadline = time.monotonic() + 60
    while "sleep 3333" in run(box, "ps").channels()[1].decode():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("path", "protocols", "expected"),
    [
        ("pods/none/exec?command=true", ("v4.channel.k8s.io",), 404),
        ("pods/box/exec?command=true&container=other", ("v4.channel.k8s.io",), 400),
        ("pods/box/exec", ("v4.channel.k8s.io",), 400),
        ("pods/box/exec?command=true&stdout=false&stderr=false", ("v4.channel.k8s.io",), 400),
        ("pods/box/exec?command=true", ("unknown",), 403),
        ("pods/box/portforward", ("v4.channel.k8s.io",), 400),
        ("pods/box/portforward?ports=99999", ("v4.channel.k8s.io",), 400),
    ],
)
def test_what_cannot_be_upgraded_is_answered(
    box: Cluster, path: str, protocols: tuple[str, ...], expected: int
) -> None:
    client = Client(box.kubeconfig, f"/api/v1/namespaces/{NAMESPACE}/{path}", *protocols)
    assert client.status == expected
    client.sock.close()


def test_port_forward_by_channels(box: Cluster) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/box/portforward?ports=8080&ports=9"
    client = Client(box.kubeconfig, path, "v4.channel.k8s.io")
    client.send(b"\0GET /hostname HTTP/1.0\r\n\r\n")
    client.sock.settimeout(120)
    seen: dict[int, bytes] = {}
    while b"box\n" not in seen.get(0, b"") or b"refused" not in seen.get(3, b""):
        for piece in client._decoder.feed(client.sock.recv(65536)):
            seen[piece.data[0]] = seen.get(piece.data[0], b"") + piece.data[1:]
    assert {number: data[:2] for number, data in seen.items()} == {
        0: (8080).to_bytes(2, "little"),
        1: (8080).to_bytes(2, "little"),
        2: (9).to_bytes(2, "little"),
        3: (9).to_bytes(2, "little"),
    }
    client.sock.close()
