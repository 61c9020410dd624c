"""Walks of people through delivery on one real cluster: programs, promotion, what a build can see, odd pushes."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
from app_site import Person, delivering

from fairway.processes.broker import local_addresses

pytestmark = pytest.mark.real

PROGRAM = """
import http.server, os
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(" ".join(["VERSION", *(os.environ.get(name, "-") for name in ("COLOUR", "TOKEN"))]).encode())
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Answer).serve_forever()
"""

LOOK = """
import glob, os, socket, sys, urllib.request
def reached(host, port):
    try:
        socket.create_connection((host, int(port)), 2).close()
    except OSError:
        return "closed"
    return "open"
for target in sys.argv[1:]:
    print("look", target, reached(*target.split(":")))
for path in ("default/shop.git/info/refs?service=git-upload-pack", "runs/default/shop-1/source", "logs/default/shop-1"):
    try:
        print("asked", path, urllib.request.urlopen("http://10.42.0.1:8900/" + path, timeout=60).status)
    except OSError as error:
        print("asked", path, getattr(error, "code", error))
secrets = [path for folder in ("/fairway/**", "/var/run/secrets/**") for path in glob.glob(folder, recursive=True)]
print("files", sorted(path for path in secrets if os.path.isfile(path)))
print("processes", len(glob.glob("/proc/[0-9]*")))
"""
CLOSED = (
    "10.96.0.1:443",
    "10.42.0.1:6443",
    "10.42.0.1:10250",
    "169.254.169.254:80",
    "10.96.0.20:443",
    "127.0.0.1:6443",
)
POD = """
apiVersion: v1
kind: Pod
metadata: {name: stroller}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: shell, image: "python:3", command: [sleep, infinity]}]
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("walks")
    made = cluster.new(folder / "state")
    made.flags = ("--egress", "veth")  # what a build must not reach is only out of its reach when there is a way out
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


def shop(person: Person, colour: str, tokens: dict[str, str], staging_replicas: int = 1) -> None:
    """An App with two environments, each with a colour, a Secret and domains of its own."""
    for name, token in tokens.items():
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"vault-{name}"}}
        person.cluster.apply(json.dumps({**secret, "stringData": {"TOKEN": token}}))
    staging = {"name": "staging", "domains": ["staging.shop.test"], "replicas": staging_replicas}
    production = {"name": "production", "domains": ["shop.test", "www.shop.test"]}
    for one, value in ((staging, "blue"), (production, colour)):
        one |= {"env": [{"name": "COLOUR", "value": value}], "secrets": [f"vault-{one['name']}"]}
    spec = {"environments": [staging, production], "deploy": {"progressDeadlineSeconds": 60}}
    raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "metadata": {"name": "shop"}, "spec": spec}
    person.cluster.apply(json.dumps(raw))


def version(person: Person, folder: Path, number: int) -> str:
    """Push a program that tells its version; what the terminal said."""
    files = {"Procfile": "web: python3 main.py", "requirements.txt": "", "main.py": PROGRAM}
    person.commit(folder, f"version {number}", **{**files, "main.py": PROGRAM.replace("VERSION", f"v{number}")})
    said = person.push(folder)
    assert "is live" in said, said
    return said


def releases(person: Person, environment: str) -> list[dict[str, Any]]:
    """Those of the shop, by number."""
    found = person.cluster.objects("releases", "-l", f"fairway.dev/app=shop,fairway.dev/environment={environment}")
    return sorted(found, key=lambda one: int(one["spec"]["number"]))


def test_promotion_carries_the_digest_and_leaves_the_settings(person: Person) -> None:
    shop(person, "red", {"staging": "s1-secret", "production": "p1-secret"})
    folder = person.repository("shop")
    person.cluster.kubectl("wait", "app/shop", "--for=jsonpath={.status.gitUrl}", "--timeout=60s")
    person.fairway("app", "remote", "shop", folder=folder)
    assert "https://staging.shop.test" in version(person, folder, 1)
    person.shows("staging.shop.test", "v1 blue s1-secret")
    assert person.page("shop.test") == "", "nothing comes to production by itself"
    said = person.fairway("promote", "shop")
    assert "https://shop.test" in said and "staging goes to production as v1" in said
    person.shows("shop.test", "v1 red p1-secret")
    person.shows("www.shop.test", "v1 red p1-secret")
    version(person, folder, 2)
    person.shows("staging.shop.test", "v2 blue s1-secret")
    assert person.page("shop.test") == "v1 red p1-secret"
    person.fairway("promote", "shop")
    first, second = (releases(person, name)[-1]["spec"] for name in ("staging", "production"))
    assert first["image"] == second["image"] and "@sha256:" in first["image"] and second["reason"] == "promote"
    assert second["of"] == "shop-staging-v2" and first["configuration"] != second["configuration"]


def test_a_rollback_in_one_environment_stays_when_another_changes(person: Person) -> None:
    shop(person, "red", {"staging": "s2-secret", "production": "p1-secret"})
    person.fairway("rollback", "shop", "-e", "staging")
    person.shows("staging.shop.test", "v1 blue s1-secret")  # the values that were frozen, not those of now
    person.shows("shop.test", "v2 red p1-secret")
    before = [one["metadata"]["name"] for one in releases(person, "staging")]
    shop(person, "green", {"production": "p2-secret"})
    person.shows("shop.test", "v2 green p2-secret")
    assert [one["metadata"]["name"] for one in releases(person, "staging")] == before
    assert person.page("staging.shop.test") == "v1 blue s1-secret"
    person.fairway("rollback", "shop", "-e", "production")
    person.shows("shop.test", "v2 red p1-secret")
    assert person.page("staging.shop.test") == "v1 blue s1-secret"
    assert "https://staging.shop.test" in person.fairway("open", "shop", "-e", "staging")
    told = person.cluster.kubectl("get", "releases,apps,events", "-o", "json")
    assert not [token for token in ("s1-secret", "p1-secret", "p2-secret") if token in told]


def test_a_build_sees_nothing_but_its_own_source(person: Person) -> None:
    addresses = local_addresses(Path("/proc/net/fib_trie").read_text())
    assert addresses, "the link of the cluster has one at least"
    folder = person.repository("spy")
    person.fairway("app", "create", "spy", "--domain", "spy.test", "--remote", folder=folder)
    with socket.create_server(("0.0.0.0", 0)) as listening:
        ours = [f"{address}:{listening.getsockname()[1]}" for address in addresses]
        person.cluster.apply(POD)
        person.cluster.kubectl("wait", "pod/stroller", "--for=condition=Ready", "--timeout=60s")
        strolled = person.cluster.kubectl("exec", "stroller", "--", "python3", "-c", LOOK, *ours)
        assert "open" in strolled, f"pods have a way out, else this test says nothing: {strolled}"
        command = " ".join(("python3 look.py", *CLOSED, *ours))
        pipeline = f"build:\n  image: python:3\n  script: ['{command}', 'mkdir dist', 'touch dist/index.html']\n"
        person.commit(folder, **{".fairway.yml": pipeline, "look.py": LOOK})
        said = person.push(folder)
    looked = [line.split()[-2:] for line in said.splitlines() if " look " in line]
    assert dict(looked) == dict.fromkeys((*CLOSED, *ours), "closed"), said
    asked = [line.split()[-1] for line in said.splitlines() if " asked " in line]
    assert asked == ["401", "401", "401"], said
    assert "files ['/fairway/script/after', '/fairway/script/main']" in said and "token" not in said, said
