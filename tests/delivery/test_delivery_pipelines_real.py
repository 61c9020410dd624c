"""Pipelines in a real cluster: real pods, files, processes, and an engine that is killed in the middle."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
from app_site import Person, Pushing, delivering
from stand_ins import stand_ins

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
SECRET = "hunter2-very-secret"
FILE = """
stages: [build, test]
build:
  image: busybox
  cache: {key: stamp, paths: [.cache]}
  script:
    - mkdir -p dist .cache
    - echo "runs before=$(cat .cache/count 2>/dev/null || echo 0)"
    - echo x >> .cache/count
    - echo "<h1>$CI_COMMIT_SHORT_SHA</h1>" > dist/index.html
    - echo "password=$PASSWORD coded=$(printf %s "$PASSWORD" | base64)"
    - ls /var/run/secrets/kubernetes.io /fairway/token 2>&1 | wc -l
  artifacts: {paths: [dist]}
test:
  image: busybox
  services: [{name: nginx, alias: web}]
  script:
    - grep "$CI_COMMIT_SHORT_SHA" dist/index.html
    - until wget -q -O page http://web/; do sleep 1; done  # it was begun before, and listens in its own time
    - grep -c html page
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("pipelines")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "busybox", "nginx", "python")
    stand_ins(made.state_dir / "images")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


def app(person: Person, name: str, namespace: str = "default", spec: str = "{}") -> None:
    meta = f"{{name: {name}, namespace: {namespace}}}"
    person.cluster.apply(f"apiVersion: fairway.dev/v1alpha1\nkind: App\nmetadata: {meta}\nspec: {spec}\n")


def repository(person: Person, name: str, namespace: str = "default") -> Path:
    """A repository whose remote is the App's on the built-in endpoint."""
    folder = person.repository(f"{namespace}-{name}")
    token = person.cluster.kubectl("create", "token", "pusher").strip()
    url = f"https://x:{token}@git.fairway.localhost:{person.cluster.https}/{namespace}/{name}.git"
    person.git(folder, "remote", "add", "fairway", url)
    person.git(folder, "config", "http.sslVerify", "false")
    return folder


@pytest.fixture(scope="module", autouse=True)
def pusher(person: Person) -> None:
    person.cluster.kubectl("create", "serviceaccount", "pusher")
    binding = ["--clusterrole=cluster-admin", "--serviceaccount=default:pusher"]
    person.cluster.kubectl("create", "clusterrolebinding", "pusher", *binding)


def until(person: Person, run: str, *phases: str) -> dict[str, Any]:
    """The run once it is in one of the phases."""

    def look() -> dict[str, Any]:
        found = [item for item in person.cluster.objects("pipelineruns") if item["metadata"]["name"] == run]
        return found[0].get("status", {}) if found else {}

    return waited(look, lambda status: status.get("phase") in phases, f"{run} {phases}")  # type: ignore[no-any-return]


def waited(
    look: Callable[[], Any], wanted: Callable[[Any], object], what: str, evidence: Callable[[], str] = str
) -> Any:
    """What `look` finds once it is as `wanted`; `evidence` tells more when that never comes."""
    deadline = time.monotonic() + 90
    while not wanted(found := look()):
        assert time.monotonic() < deadline, f"never came: {what}; last seen: {found}\n{evidence()}"
        time.sleep(0.1)
    return found


def story(person: Person, pushing: Pushing) -> str:
    """All that may tell why a push does not lead to its job."""
    shown = [person.cluster.kubectl("get", "apps,runs,jobs,pods,events", "-A", "-o", "wide", check=False)]
    shown += [person.cluster.kubectl("get", "runs", "-A", "-o", "yaml", check=False), person.cluster.log(40000)]
    return "\n".join([f"push ended: {pushing.process.poll()}; it said:", pushing.said, *shown])


def processes(mark: str) -> list[str]:
    """Processes of this machine with a word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in command.split(b"\0"):
            found.append(folder.name)
    return found


def logs_with(top: Path, text: bytes) -> list[Path]:
    """Unlike `rglob`, this bears that folders of pods go meanwhile, and what is in them."""
    found = []
    for path in (Path(folder, name) for folder, _, names in os.walk(top) for name in names if name.endswith(".log")):
        with contextlib.suppress(FileNotFoundError):
            found += [path] if text in path.read_bytes() else []
    return found


def test_jobs_pass_on_what_they_make_and_nothing_leaks(person: Person) -> None:
    person.cluster.kubectl("create", "secret", "generic", "top", f"--from-literal=password={SECRET}")
    variable = "{name: PASSWORD, valueFrom: {secretKeyRef: {name: top, key: password}}}"
    app(person, "site", spec=f"{{domains: [site.corp.com], build: {{variables: [{variable}]}}}}")
    folder = repository(person, "site")
    first = person.commit(folder, "first", **{".fairway.yml": FILE})
    said = person.push(folder)
    assert "runs before=0" in said and "password=[masked] coded=[masked]" in said and SECRET not in said
    assert "is live (v1)" in said, said
    person.shows("site.corp.com", f"<h1>{first[:8]}</h1>\n")
    second = person.commit(folder, "second")
    said = person.push(folder)
    assert "runs before=x" in said and "cache stamp is here" in said
    person.shows("site.corp.com", f"<h1>{second[:8]}</h1>\n")
    assert logs_with(person.cluster.state_dir, SECRET.encode()) == []


def test_a_run_goes_on_while_the_engine_is_killed(person: Person) -> None:
    app(person, "steady")
    folder = repository(person, "steady")
    script = "stages: [build]\nbuild: {script: [echo begun, sleep 4, mkdir dist, echo hi > dist/index.html]}"
    person.commit(folder, "first", **{".fairway.yml": script})
    with person.pushing(folder) as pushing:
        waited(
            lambda: person.cluster.objects("jobs"),
            lambda jobs: any(job["metadata"]["name"] == "steady-1-build" for job in jobs),
            "the job",
            lambda: story(person, pushing),
        )
        os.kill(person.cluster.engine_pid(), 9)
        pushing.ended()  # the pusher's connection is gone; the run is not
    person.cluster.until_api_answers()
    status = until(person, "steady-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded" and status["image"], story(person, pushing)
    assert status["steps"][0]["attempt"] == 1, status
    log = (person.cluster.state_dir / "delivery/logs/default/steady-1/build.log").read_text()
    assert log.count("begun\n") == 2  # once as the command, once as what it wrote


def test_cancelling_ends_the_process_tree(person: Person) -> None:
    app(person, "slow")
    folder = repository(person, "slow")
    mark = str(900_000_000 + os.getpid())  # nobody else on this machine sleeps that long
    script = f"stages: [build]\nbuild: {{script: ['(sleep {mark} &) ; sleep {mark}']}}"
    person.commit(folder, "first", **{".fairway.yml": script})
    with person.pushing(folder) as pushing:
        two = "the two processes"
        waited(lambda: processes(mark), lambda found: len(found) == 2, two, evidence=lambda: story(person, pushing))
        person.cluster.kubectl("patch", "pipelinerun", "slow-1", "--type=merge", "-p", '{"spec": {"cancelled": true}}')
        status = until(person, "slow-1", "Cancelled", "Succeeded", "Failed")
        assert status["phase"] == "Cancelled" and status["steps"][0]["phase"] == "Cancelled"
        assert not processes(mark)
        assert "Cancelled" in pushing.ended()


@pytest.mark.parametrize(
    ("name", "job", "said"),
    [
        ("greedy", "{image: python:3, script: ['python3 -c \"bytearray(300 << 20)\"']}", "more memory than spec.build"),
        ("late", "{timeout: 2s, script: [sleep 60]}", "took longer than 2 seconds"),
        (
            "fat",
            "{image: busybox, script: [dd if=/dev/zero of=/tmp/fat bs=1M count=48, sleep 600]}",
            "used more disk than spec.build.disk allows and was ended: Pod ephemeral local storage usage exceeds",
        ),
        ("wrong", "{script: [exit 7], after_script: [echo after $CI_JOB_STATUS]}", "ended with exit code 7"),
    ],
)
def test_a_job_that_fails_says_why(person: Person, name: str, job: str, said: str) -> None:
    app(person, name, spec="{build: {memory: 64Mi, disk: 32Mi}}")
    folder = repository(person, name)
    person.commit(folder, "first", **{".fairway.yml": f"stages: [build]\nbuild: {job}"})
    text = person.push(folder, check=False)
    assert said in text, text
    assert until(person, f"{name}-1", "Failed", "Succeeded")["phase"] == "Failed"


def test_jobs_have_no_rights_unless_they_are_given(person: Person) -> None:
    app(person, "plain")
    folder = repository(person, "plain")
    script = "stages: [deploy]\ndeploy: {image: bitnami/kubectl, script: [kubectl get secrets]}"
    person.commit(folder, "first", **{".fairway.yml": script})
    assert "Failed: deploy" in person.push(folder, check=False)
    (policy,) = (
        one for one in person.cluster.objects("networkpolicies") if one["metadata"]["name"] == "fairway-builds"
    )
    assert policy["spec"]["podSelector"] == {"matchLabels": {"fairway.dev/network": "build"}}
