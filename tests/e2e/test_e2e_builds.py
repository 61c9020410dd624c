"""Images that a cluster makes itself: they are in its registry, and Dockerfiles may run commands."""

from collections.abc import Iterator

import cluster
import pytest
import shared
from app_site import Person, delivering

from fairway.toolkit.oci.store import ImageStore

pytestmark = pytest.mark.real

DOCKERFILE = """
FROM nginx:latest
ENV COLOUR=blue
ARG GREETING=hello
WORKDIR /build
COPY note.txt .
RUN printf '%s %s %s' "$GREETING" "$COLOUR" "$(cat note.txt)" > /usr/share/nginx/html/index.html
RUN ["rm", "-r", "/usr/share/doc"]
RUN env > /usr/share/nginx/html/env.txt; ls -R /fairway /workspace > /usr/share/nginx/html/seen.txt 2>&1; true
COPY note.txt /usr/share/nginx/html/note.txt
EXPOSE 80
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("builds")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


def test_what_is_built_is_in_the_registry(person: Person) -> None:
    site = person.repository("site")
    person.fairway("app", "create", "site", "--domain", "site.example.com", "--remote", folder=site)
    commit = person.commit(site, **{"index.html": "one"})
    person.push(site)
    person.shows("site.example.com", "one")
    tag = person.cluster.state_dir / "images/links/registry/default/site/_tags" / commit
    image = person.cluster.objects("deployments")[0]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"registry.fairway.local/default/site@{tag.read_text()}"


def test_a_dockerfile_runs_commands_in_pods_that_know_nothing(person: Person) -> None:
    made = person.repository("made")
    person.cluster.kubectl("create", "secret", "generic", "vault", "--from-literal=password=hunter2hunter2")
    person.cluster.apply(
        """
apiVersion: fairway.dev/v1alpha1
kind: App
metadata: {name: made, namespace: default}
spec:
  domains: [made.example.com]
  build:
    variables: [{name: HARBOR_PASSWORD, valueFrom: {secretKeyRef: {name: vault, key: password}}}]
"""
    )
    person.cluster.kubectl("wait", "app/made", "--for=jsonpath={.status.gitUrl}", "--timeout=60s")
    person.fairway("app", "remote", "made", folder=made)
    person.commit(made, **{"Dockerfile": DOCKERFILE, "note.txt": "world"})
    person.push(made)
    person.shows("made.example.com", "hello blue world")
    person.shows("made.example.com", "world", "/note.txt")
    environment = person.says("made.example.com", "/env.txt")
    assert "COLOUR=blue" in environment and "hunter2" not in environment and "FAIRWAY" not in environment
    assert "token" not in person.says("made.example.com", "/seen.txt")
    store = ImageStore(person.cluster.state_dir / "images")
    image = person.cluster.objects("deployments", "-l", "fairway.dev/app=made")[0]
    named = image["spec"]["template"]["spec"]["containers"][0]["image"]
    layers = next(one for one in store.list() if one.reference == named).layers
    assert len(layers) == 5, "the base, the folder, a copy, what the commands changed, a copy"


def test_a_command_that_fails_fails_the_run_and_says_so(person: Person) -> None:
    folder = person.repository("made2")
    person.fairway("app", "create", "made2", "--domain", "made2.example.com", "--remote", folder=folder)
    person.commit(folder, Dockerfile="FROM nginx:latest\nRUN echo 'no such library'; exit 3\n")
    said = person.push(folder, check=False)
    assert "no such library" in said and "image-run-1" in said
    assert person.page("made2.example.com") == ""
