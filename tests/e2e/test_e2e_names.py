"""How the resolvers of real images find names: search paths, ndots, and what they are told about names that are not."""

import json
from typing import Any

import pytest
from space import Kubectl

pytestmark = pytest.mark.real

ASK = """
import json, socket, sys, threading
asked = []
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
def serve():
    while True:
        question, who = server.recvfrom(4096)
        labels, at = [], 12
        while question[at]:
            labels.append(question[at + 1:at + 1 + question[at]].decode())
            at += 1 + question[at]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.settimeout(60)
            upstream.sendto(question, ("10.96.0.10", 53))
            answer = upstream.recv(4096)
        kind = {1: "A", 28: "AAAA"}[int.from_bytes(question[at + 1:at + 3], "big")]
        found = [int.from_bytes(answer[at:at + 2], "big") for at in (6, 8)]  # answers, authorities
        asked.append([".".join(labels), kind, {0: "NOERROR", 3: "NXDOMAIN"}.get(answer[3] & 15, "OTHER"), *found])
        server.sendto(answer, who)
threading.Thread(target=serve, daemon=True).start()
def ask(name, family):
    asked.clear()
    try:
        found = sorted({each[4][0] for each in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)})
    except socket.gaierror as error:
        found = error.strerror
    return [found, list(asked)]
print(json.dumps([ask(name, family) for name in sys.argv[1:] for family in (socket.AF_INET, socket.AF_INET6)]))
"""


def pod(name: str, image: str, command: list[str], **spec: Any) -> str:
    container = {"name": "c", "image": image, "imagePullPolicy": "Never", "command": command}
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container], **spec}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


def service(kubectl: Kubectl) -> str:
    kubectl.apply("Service", "web", {"selector": {"app": "none"}, "ports": [{"port": 80}]}, "v1")
    return str(kubectl.get("service", "web")["spec"]["clusterIP"])


def test_ndots_says_which_names_are_tried_as_they_are_first(kubectl: Kubectl) -> None:
    """With ndots:2 by the resolver of glibc, over a server that writes down what it asks."""
    address, space = service(kubectl), kubectl.namespace
    searches = [f"{space}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    names = ["web", f"web.{space}", f"web.{space}.svc", f"web.{space}.svc.cluster.local", "absent"]
    # The longest time that glibc waits: it would ask a busy server twice.
    options = [{"name": "ndots", "value": "2"}, {"name": "timeout", "value": "30"}]
    config = {"nameservers": ["127.0.0.1"], "searches": searches, "options": options}
    body = pod("ask", "python:3-slim", ["python3", "-c", ASK, *names], dnsPolicy="None", dnsConfig=config)
    kubectl.cluster.kubectl("-n", space, "apply", "-f", "-", text=body)
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/ask", "--timeout=90s")
    answers = json.loads(kubectl("logs", "ask"))
    by_name = dict(zip(names, zip(answers[::2], answers[1::2], strict=True), strict=True))
    full = f"web.{space}.svc.cluster.local"
    assert by_name["web"][0] == [[address], [[full, "A", "NOERROR", 1, 0]]]
    assert by_name[f"web.{space}"][0] == [
        [address],
        [[f"web.{space}.{searches[0]}", "A", "NXDOMAIN", 0, 1], [full, "A", "NOERROR", 1, 0]],
    ]
    (found, asked) = by_name[f"web.{space}.svc"][0]
    assert found == [address] and asked[0][0] == f"web.{space}.svc", "two dots: as it is first"
    assert asked[-1][:3] == [full, "A", "NOERROR"]
    assert by_name[full][0] == [[address], [[full, "A", "NOERROR", 1, 0]]]
    for name in ("web", full):  # a name that exists without an IPv6 address: no answer, and no NXDOMAIN either
        assert [full, "AAAA", "NOERROR", 0, 1] in by_name[name][1][1]
    assert [each[:4] for each in by_name["absent"][0][1]][:3] == [
        [f"absent.{each}", "A", "NXDOMAIN", 0] for each in searches
    ]


def test_busybox_finds_names_by_its_search_path(kubectl: Kubectl) -> None:
    """Its `nslookup` is no resolver: it asks for every suffix and ends with 1 if one of them has no such name, and does
    not look at ndots. Its other programs find every form of a name."""
    address, space = service(kubectl), kubectl.namespace
    kubectl.cluster.kubectl("-n", space, "apply", "-f", "-", text=pod("busybox", "busybox", ["sleep", "100000"]))
    kubectl("wait", "--for=condition=Ready", "pod/busybox", "--timeout=60s")

    def run(*command: str, check: bool = True) -> str:
        return kubectl("exec", "busybox", "--", *command, check=check)

    full = f"web.{space}.svc.cluster.local"
    looked = run("nslookup", "web", check=False)
    assert f"Name:\t{full}\nAddress: {address}\n" in looked
    missed = {line for line in looked.splitlines() if line.startswith("**")}
    suffixes = ("svc.cluster.local", "cluster.local")
    assert missed == {f"** server can't find web.{suffix}: NXDOMAIN" for suffix in suffixes}
    assert f"Address: {address}\n" in run("nslookup", full), "no address of the other kind is no mistake"
    for name in ("web", f"web.{space}", f"web.{space}.svc", full):
        assert f"PING {name} ({address})" in run("ping", "-c1", "-W1", name, check=False)
    assert "bad address" in run("ping", "-c1", "-W1", "absent", check=False)
