"""What goes wrong between a push and a live site: the old version serves on, and the person is told what to do."""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import cluster
import pytest
import shared
from app_site import Person, delivering
from small_disk import small_disk

pytestmark = pytest.mark.real

CRASHES = 'FROM nginx\nCMD ["sh", "-c", "echo the disk is on fire; exit 3"]\n'
SLEEPS = 'FROM nginx\nEXPOSE 99\nCMD ["sh", "-c", "trap exit TERM; sleep 1000 & wait"]\n'


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("failures")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "nginx", "python")
    with small_disk(made.state_dir / "delivery", "40m"):
        made.start()
        yield Person(delivering(made), folder)
        made.stop()


def until(look: Callable[[], Any], wanted: Callable[[Any], bool], what: str) -> Any:
    deadline = time.monotonic() + 60
    while not wanted(found := look()):
        assert time.monotonic() < deadline, f"never came: {what}; last seen: {found}"
        time.sleep(0.05)
    return found


def app(person: Person, name: str, **spec: Any) -> None:
    """An App; its rollouts have as long as people's have."""
    spec = {"domains": [f"{name}.test"], **spec}
    raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "metadata": {"name": name}, "spec": spec}
    person.cluster.apply(json.dumps(raw))


def live(person: Person, name: str, **spec: Any) -> Any:
    """An App with one good version; its repository."""
    app(person, name, **spec)
    folder = person.repository(name)
    person.fairway("app", "remote", name, folder=folder)
    person.commit(folder, "good", **{"index.html": f"{name} works"})
    assert "is live (v1)" in person.push(folder)
    return folder


def hasty(person: Person, name: str) -> None:
    """What comes from here on is given up soon; what is live gets that as a Release of its own."""
    app(person, name, deploy={"progressDeadlineSeconds": 10})
    until(
        lambda: person.cluster.kubectl("get", "release", f"{name}-v2", "-o", "jsonpath={.status.phase}", check=False),
        lambda phase: phase == "Live",
        f"{name}-v2",
    )


@pytest.mark.parametrize(
    ("name", "dockerfile", "told"),
    [
        ("crash", CRASHES, ("the disk is on fire", "exit code 3", "v3 failed")),
        ("wrong-port", SLEEPS, ("v3 failed", "connection refused")),
        ("broken", "FROM nginx\nFROB x\n", ("Dockerfile:2: unknown instruction: FROB",)),
        ("escapes", "FROM nginx\nCOPY ../../etc/passwd /\n", ("Failed",)),
    ],
)
def test_the_old_version_serves_on(person: Person, name: str, dockerfile: str, told: tuple[str, ...]) -> None:
    folder = live(person, name)
    if any("failed" in one for one in told):
        hasty(person, name)
    person.commit(folder, "bad", Dockerfile=dockerfile)
    said = person.push(folder)
    assert all(one in said for one in told), said
    person.shows(f"{name}.test", f"{name} works")
    app(person, name)
    (folder / "Dockerfile").unlink()
    person.commit(folder, "good again", **{"index.html": "mended"})
    assert "is live" in person.push(folder)
    person.shows(f"{name}.test", "mended")


def test_pushes_that_deploy_nothing_say_so(person: Person) -> None:
    folder = live(person, "quiet")
    person.git(folder, "checkout", "--quiet", "-b", "other")
    person.commit(folder, "elsewhere", **{"index.html": "other"})
    assert 'Stored. quiet deploys the branch "main"' in person.push(folder, "fairway", "other")
    person.git(folder, "tag", "v1")
    assert "Stored" in person.push(folder, "fairway", "v1")
    person.git(folder, "checkout", "--quiet", "main")
    person.commit(folder, "words only [skip ci]", **{"index.html": "skipped"})
    assert "asks for no run" in person.push(folder)
    assert '"main" is the branch that is deployed' in person.push(folder, "fairway", ":main", check=False)
    person.shows("quiet.test", "quiet works")


def test_a_forced_push_of_an_older_commit_is_a_new_release_of_it(person: Person) -> None:
    folder = live(person, "forced")
    person.commit(folder, "second", **{"index.html": "second"})
    assert "is live (v2)" in person.push(folder)
    person.git(folder, "reset", "--quiet", "--hard", "HEAD~1")
    assert "is live (v3)" in person.push(folder, "--force", "fairway", "main")
    person.shows("forced.test", "forced works")


def test_an_empty_repository_says_what_to_commit(person: Person) -> None:
    app(person, "empty")
    folder = person.repository("empty")
    person.fairway("app", "remote", "empty", folder=folder)
    person.commit(folder, "nothing")
    assert "there is nothing in the repository; commit an index.html" in person.push(folder)


def test_a_domain_moves_from_one_app_to_another(person: Person) -> None:
    folder = live(person, "giver", domains=["moving.test"], source={"path": ""})
    live(person, "taker")
    app(person, "taker", domains=["taker.test", "moving.test"])
    until(
        lambda: person.fairway("app", "show", "taker"), lambda text: "is taken by default/giver" in text, "the refusal"
    )
    person.shows("moving.test", "giver works")
    app(person, "giver", domains=["giver.test"])
    until(lambda: person.page("moving.test"), lambda text: text == "taker works", "the domain at its new App")
    person.shows("giver.test", "giver works")
    assert folder.exists()


def test_two_apps_of_one_repository(person: Person) -> None:
    app(person, "left", source={"path": "a"})
    app(person, "right", source={"path": "b"})
    folder = person.repository("both")
    person.commit(folder, "both", **{"a/index.html": "A", "b/index.html": "B"})
    for name, text in (("left", "A"), ("right", "B")):
        person.fairway("app", "remote", name, folder=folder)
        assert "is live (v1)" in person.push(folder)
        person.shows(f"{name}.test", text)


def test_an_app_deleted_in_the_middle_of_a_rollout_is_gone(person: Person) -> None:
    folder = live(person, "short")
    person.commit(folder, "never ready", Dockerfile=SLEEPS)
    with person.pushing(folder) as pushing:
        until(lambda: pushing.said, lambda said: "Releasing v2" in said, "the rollout")
        person.fairway("app", "delete", "short", "--yes")
        rest = pushing.ended()
    assert "is gone" in rest, rest
    kinds = "deployments,replicasets,pods,services,ingresses,releases,pipelineruns,domains,secrets,jobs"
    until(
        lambda: [one["metadata"]["name"] for one in person.cluster.objects(kinds, "-l", "fairway.dev/app=short")],
        lambda found: not found,
        "the end of everything",
    )


def test_a_namespace_deleted_in_the_middle_is_gone_and_its_domain_free(person: Person) -> None:
    person.cluster.kubectl("create", "namespace", "team")
    folder = person.repository("team")
    person.fairway("app", "create", "site", "-n", "team", "--domain", "team.test", "--remote", folder=folder)
    person.commit(folder, "never ready", Dockerfile=SLEEPS)
    with person.pushing(folder) as pushing:
        until(lambda: pushing.said, lambda said: "Releasing v1" in said, "the rollout")
        person.cluster.kubectl("delete", "namespace", "team", "--timeout=100s")
        rest = pushing.ended()
    assert "is gone" in rest or "fail" in rest, rest
    live(person, "heir", domains=["team.test"])
    person.shows("team.test", "heir works")


def test_a_quota_is_told(person: Person) -> None:
    person.cluster.kubectl("create", "namespace", "poor")
    person.cluster.kubectl("create", "quota", "none", "-n", "poor", "--hard=pods=0")
    folder = person.repository("poor")
    person.fairway("app", "create", "site", "-n", "poor", "--domain", "poor.test", "--remote", folder=folder)
    patch = json.dumps({"spec": {"deploy": {"progressDeadlineSeconds": 4}}})
    person.cluster.kubectl("patch", "app", "site", "-n", "poor", "--type=merge", "-p", patch)
    person.commit(folder, "good", **{"index.html": "poor"})
    said = person.push(folder)
    assert "v1 failed" in said and "exceeded quota" in said, said


def test_a_build_on_a_full_disk_says_so_and_the_next_one_works(person: Person) -> None:
    folder = live(person, "cramped")
    (folder / "zeros").write_bytes(bytes(48 << 20))  # next to nothing in the repository, and too much beside it
    person.commit(folder, "large", **{"index.html": "large"})
    said = person.push(folder)
    assert "the disk on which the platform keeps the files of builds is full; somebody must free some" in said, said
    person.shows("cramped.test", "cramped works")
    (folder / "zeros").unlink()
    person.commit(folder, "small", **{"index.html": "small"})
    assert "is live (v2)" in person.push(folder)
    person.shows("cramped.test", "small")


def ask(person: Person, path: str, token: str = "", **headers: str) -> tuple[int, str]:
    """A raw request to the endpoint, as people reach it."""
    context = ssl.create_default_context(cafile=person.cluster.state_dir / "pki" / "web-ca.crt")
    connection = http.client.HTTPConnection("127.0.0.1", person.cluster.https, timeout=60)
    connection.connect()
    connection.sock = context.wrap_socket(connection.sock, server_hostname="git.fairway.localhost")
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", "git.fairway.localhost")
    for name, value in {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, body


@pytest.mark.parametrize(
    "path",
    [
        "/default/../default/guarded.git/info/refs?service=git-upload-pack",
        "/default/%2e%2e/%2e%2e/etc/passwd.git/info/refs?service=git-upload-pack",
        "/default%2fguarded.git/info/refs?service=git-upload-pack",
        "/default/..%2f..%2fpki.git/info/refs?service=git-upload-pack",
        "/default/guarded.git/config",
        "/default/guarded.git/hooks/update",
        "/default/guarded.git/objects/info/packs",
        "/runs/default/guarded-1/source",
        "/runs/default/../../source",
        "/logs/default/guarded-1",
        "/promotions/default/guarded",
    ],
)
def test_nothing_is_told_without_rights(person: Person, path: str) -> None:
    if not person.cluster.kubectl("get", "app", "guarded", "--ignore-not-found"):
        live(person, "guarded")
    person.cluster.kubectl("create", "serviceaccount", "stranger", check=False)
    stranger = person.cluster.kubectl("create", "token", "stranger").strip()
    for token in ("", "nonsense", stranger, "a" * 12_000):  # what HAProxy itself refuses may break off in the middle
        status, body = ask(person, path, token)
        assert status in (400, 401, 403, 404, 405, 414, 431), (path, status, body)
        assert "root:" not in body and "[core]" not in body and "index.html" not in body


def test_a_token_of_another_namespace_opens_nothing(person: Person) -> None:
    person.cluster.kubectl("create", "namespace", "others")
    other = person.repository("others")
    person.fairway("app", "create", "mine", "-n", "others", "--remote", folder=other)
    person.commit(other, "mine", **{"index.html": "mine"})
    person.push(other)  # this makes the account that pushes there
    accounts = [one["metadata"]["name"] for one in person.cluster.objects("serviceaccounts", "-n", "others")]
    (account,) = (name for name in accounts if name.startswith("fairway-pusher"))
    token = person.cluster.kubectl("create", "token", account, "-n", "others").strip()
    path = "info/refs?service=git-receive-pack"
    assert ask(person, f"/others/mine.git/{path}", token)[0] == 200
    assert ask(person, f"/default/giver.git/{path}", token)[0] == 403
    assert ask(person, "/logs/default/giver-1", token)[0] == 403
    assert ask(person, "/logs/others/mine-1", token)[0] == 200


def test_many_pushes_at_once_end_with_the_newest_live(person: Person) -> None:
    folder = live(person, "busy")
    pushes = []
    for number in range(12):
        clone = person.home / f"busy-{number}"
        person.git(person.home, "clone", "--quiet", str(folder), str(clone))
        person.git(clone, "remote", "remove", "origin")
        person.fairway("app", "remote", "busy", folder=clone)
        person.commit(clone, f"change {number}", **{"index.html": f"version {number}"})
        pushes.append((number, clone))
    with ExitStack() as stack:
        running = [(number, stack.enter_context(person.pushing(clone))) for number, clone in pushes]
        said = {number: pushing.ended(120) for number, pushing in running}
    won = [number for number, pushing in running if pushing.process.returncode == 0]
    assert len(won) == 1, said
    person.shows("busy.test", f"version {won[0]}")
