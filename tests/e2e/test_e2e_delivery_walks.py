"""Walks of people through delivery on one real cluster: programs, promotion, what a build can see, odd pushes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
from app_site import Person

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


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("walks")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    yield Person(made, folder)
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
