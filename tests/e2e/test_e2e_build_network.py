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
_JOB = """
build:
  image: busybox
  script:
    - mkdir -p dist && echo site > dist/index.html
    - try() { nc -w "$4" "$2" "$3" </dev/null >/dev/null 2>&1 && echo "reached:$1" || echo "closed:$1"; }
    - until nslookup kubernetes.default.svc.cluster.local | grep -q Name; do sleep 1; done; echo resolved:names
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("builds")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "busybox", "nginx", "python")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


def test_a_job_reaches_names_and_the_delivery_endpoint_and_nothing_else_inside(person: Person) -> None:
    kubectl = person.cluster.kubectl
    person.cluster.apply(_OTHER)
    kubectl("wait", "pod/other", "--for=condition=Ready", "--timeout=60s")
    pod = kubectl("get", "pod", "other", "-o", "jsonpath={.status.podIP}")
    service = kubectl("get", "service", "other", "-o", "jsonpath={.spec.clusterIP}")
    site = person.repository("nosy")
    person.fairway("app", "create", "nosy", "--domain", "nosy.corp.com", "--remote", folder=site)
    services = person.cluster.objects("services", "-A")
    [delivery] = [each["spec"] for each in services if each["metadata"]["name"] == "delivery"]
    places = {
        "delivery-service": (delivery["clusterIP"], delivery["ports"][0]["port"]),
        "delivery-endpoint": ("10.42.0.1", 8900),
        "api-service": ("10.96.0.1", 443),
        "api-node": ("10.42.0.1", 6443),
        "api-gateway": ("169.254.1.1", 6443),
        "pod": (pod, 8080),
        "service": (service, 80),
    }
    seconds = {name: 30 if name.startswith("delivery") else 1 for name in places}  # what is open is waited for
    tries = "".join(f"    - try {name} {host} {port} {seconds[name]}\n" for name, (host, port) in places.items())
    person.commit(site, **{".fairway.yml": _JOB + tries})
    lines = person.push(site).replace("remote:", "").split()
    found = {name: "reached" for name in places if f"reached:{name}" in lines}
    found |= {name: "closed" for name in places if f"closed:{name}" in lines}
    assert found == {name: "reached" if name.startswith("delivery") else "closed" for name in places}
    assert "resolved:names" in lines
