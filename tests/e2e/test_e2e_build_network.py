"""What the pods of a build reach in a real cluster, and what not: a job tries it all and says so."""

from collections.abc import Iterator

import cluster
import pytest
import shared
from app_site import Person, delivering

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

_OTHER = """
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: other}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [httpd, -f, -p, "8080"]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {selector: {app: other}, ports: [{port: 80, targetPort: 8080}]}
"""
_TRY = 'try() { nc -w "$4" "$2" "$3" </dev/null >/dev/null 2>&1 && echo "reached:$1" || echo "closed:$1"; }'
_PLACES = "/var/run/secrets/* /run/secrets/* /fairway/token"
_LOOK = f'for place in {_PLACES}; do if [ -e "$place" ]; then echo "found:$place"; fi; done; echo looked'
_NAMES = "until nslookup kubernetes.default.svc.cluster.local | grep -q Name; do sleep 1; done; echo resolved:names"
_JOB = f"""
build:
  image: busybox
  script:
    - mkdir -p dist && echo site > dist/index.html
    - {_TRY}
    - {_LOOK}
    - {_NAMES}
"""
_DOCKERFILE = f"""FROM busybox AS nosy
RUN <<EOF
{_TRY}
{_LOOK}
{_NAMES}
%s
wait
touch /done
EOF
FROM nginx
COPY index.html /usr/share/nginx/html/
COPY --from=nosy /done /tmp/
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("builds")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "busybox", "nginx", "python")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


@pytest.fixture(scope="module")
def places(person: Person) -> dict[str, tuple[str, int]]:
    """Where a build may want to go. All of them answer; but for the delivery endpoint no build is to reach them."""
    kubectl = person.cluster.kubectl
    person.cluster.apply(_OTHER)
    kubectl("wait", "pod/other", "--for=condition=Ready", "--timeout=60s")
    services = {each["metadata"]["name"]: each["spec"] for each in person.cluster.objects("services", "-A")}
    delivery, registry, other = (services[name] for name in ("delivery", "registry", "other"))
    slices = person.cluster.objects("endpointslices", "-A", "-l", "kubernetes.io/service-name=registry")
    return {
        "delivery-service": (delivery["clusterIP"], delivery["ports"][0]["port"]),
        "delivery-endpoint": ("10.42.0.1", 8900),
        "api-service": ("10.96.0.1", 443),
        "api-node": ("10.42.0.1", 6443),
        "api-gateway": ("169.254.1.1", 6443),
        "kubelet": ("10.42.0.1", 10250),
        "registry-service": (registry["clusterIP"], 443),
        "registry-node": (slices[0]["endpoints"][0]["addresses"][0], slices[0]["ports"][0]["port"]),
        "pod": (kubectl("get", "pod", "other", "-o", "jsonpath={.status.podIP}"), 8080),
        "service": (other["clusterIP"], 80),
    }


def tried(places: dict[str, tuple[str, int]]) -> list[str]:
    """The commands that try; what is open is waited for."""
    seconds = {name: 30 if name.startswith("delivery") else 1 for name in places}
    return [f"try {name} {host} {port} {seconds[name]}" for name, (host, port) in places.items()]


def pushed(person: Person, name: str, **files: str) -> list[str]:
    """The words that the build of a new App says."""
    site = person.repository(name)
    person.fairway("app", "create", name, "--domain", f"{name}.corp.com", "--remote", folder=site)
    person.commit(site, **files)
    return person.push(site).replace("remote:", "").split()


def check(words: list[str], places: dict[str, tuple[str, int]]) -> None:
    found = {name: "reached" for name in places if f"reached:{name}" in words}
    found |= {name: "closed" for name in places if f"closed:{name}" in words}
    wanted = {name: "reached" if name.startswith("delivery") else "closed" for name in places}
    assert found == wanted, words
    assert "resolved:names" in words and "looked" in words, words
    assert not [word for word in words if word.startswith("found:")], words


def test_a_job_reaches_names_and_the_delivery_endpoint_and_nothing_else_inside(
    person: Person, places: dict[str, tuple[str, int]]
) -> None:
    tries = "".join(f"    - {one}\n" for one in tried(places))
    check(pushed(person, "nosy", **{".fairway.yml": _JOB + tries}), places)


def test_a_command_of_a_dockerfile_reaches_no_more(person: Person, places: dict[str, tuple[str, int]]) -> None:
    tries = "\n".join(f"{one} &" for one in tried(places))
    check(pushed(person, "nosy-run", **{"Dockerfile": _DOCKERFILE % tries, "index.html": "nosy"}), places)
    person.shows("nosy-run.corp.com", "nosy")
