"""The documents' pipeline file as it is written, byte for byte: their registry, their names, their kubectl job."""

import base64
import hashlib
import json
import os
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cluster
import msgspec
import pytest
import shared
from app_site import Person, delivering
from oci_registry import HTPASSWD, PASSWORD
from stand_ins import stand_ins

from fairway.toolkit import signing
from fairway.toolkit.clock import SystemClock

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
DOCUMENTS = Path(__file__).parents[1] / "delivery" / "pipelines" / "documents.gitee-ci.yml"
HARBOR = "harbor.corp.com"
ROBOT = "robot$ci"
SPACE = "prod-frontend"
DOCKERFILE = "FROM nginx:latest\nCOPY dist /usr/share/nginx/html\n"
# As the machine's own resolver would be told: only this cluster sees the file.
_WITH_HOSTS = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')


class Harbor(msgspec.Struct, frozen=True):
    """A registry with TLS by a private authority and one robot account."""

    address: str
    folder: Path

    def digest(self, repository: str, tag: str) -> str:
        """The digest of a tag, asked over TLS by the registry's own name."""
        context = ssl.create_default_context(cafile=self.folder / "ca.crt")
        context.check_hostname = False  # by address: the chain is what is checked here
        request = urllib.request.Request(
            f"https://{self.address}/v2/{repository}/manifests/{tag}",
            headers={
                "Authorization": "Basic " + base64.b64encode(f"{ROBOT}:{PASSWORD}".encode()).decode(),
                "Accept": "application/vnd.oci.image.manifest.v1+json",
            },
        )
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            return f"sha256:{hashlib.sha256(answer.read()).hexdigest()}"


@pytest.fixture(scope="module")
def harbor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harbor]:
    folder = tmp_path_factory.mktemp("harbor")
    now = SystemClock().now()
    authority = signing.authority("corp", now)
    leaf = signing.server(authority, [HARBOR], now)
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "pair.pem").write_bytes(leaf.certificate + leaf.key)
    (folder / "htpasswd").write_text(HTPASSWD.replace("ann:", f"{ROBOT}:"))
    found = Harbor(f"127.77.{os.getpid() % 250}.9", folder)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "auth": {"htpasswd": {"realm": "Harbor", "path": str(folder / "htpasswd")}},
        "http": {
            "addr": f"{found.address}:443",
            "tls": {"certificate": str(folder / "pair.pem"), "key": str(folder / "pair.pem")},
        },
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    environment = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log, env=environment
    )
    try:
        waited(lambda: (folder / "log").read_text(), lambda text: "listening on" in text, "the registry")
        yield found
    finally:
        process.terminate()
        process.wait(60)
        log.close()


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, harbor: Harbor) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("documents")
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{harbor.address} {HARBOR}\n")
    made = cluster.new(folder / "state")
    made.prefix = (*_WITH_HOSTS, str(folder / "hosts"))
    trusted = made.state_dir / "registries" / HARBOR
    trusted.mkdir(parents=True)
    (trusted / "ca.crt").write_bytes((harbor.folder / "ca.crt").read_bytes())
    shared.bases(made.state_dir, "busybox", "nginx", "python")
    stand_ins(made.state_dir / "images")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


def waited(look: Callable[[], Any], wanted: Callable[[Any], object], what: str) -> Any:
    deadline = time.monotonic() + 90
    while not wanted(found := look()):
        assert time.monotonic() < deadline, f"never came: {what}; last seen: {found}"
        time.sleep(0.1)
    return found


@pytest.fixture(scope="module")
def shop(person: Person) -> Path:
    """The documents' App and its repository; what is in it but for the pipeline file is ours."""
    kubectl = person.cluster.kubectl
    kubectl("create", "namespace", SPACE)
    kubectl("-n", SPACE, "create", "secret", "generic", "harbor", f"--from-literal=password={PASSWORD}")
    words = ("-n", SPACE, "create", "secret", "docker-registry", "harbor-robot", f"--docker-server={HARBOR}")
    kubectl(*words, f"--docker-username={ROBOT}", f"--docker-password={PASSWORD}")
    person.cluster.apply(
        f"""
apiVersion: fairway.dev/v1alpha1
kind: App
metadata: {{name: marketing-site, namespace: {SPACE}}}
spec:
  domains: [site.corp.com]
  registry: {{credentialsSecret: harbor-robot}}
  build:
    clusterAccess: namespace
    variables: [{{name: HARBOR_PASSWORD, valueFrom: {{secretKeyRef: {{name: harbor, key: password}}}}}}]
  deploy: {{progressDeadlineSeconds: 20}}
"""
    )
    kubectl("-n", SPACE, "wait", "app/marketing-site", "--for=jsonpath={.status.gitUrl}", "--timeout=60s")
    folder = person.repository("marketing-site")
    person.fairway("app", "remote", "marketing-site", "-n", SPACE, folder=folder)
    (folder / ".gitee-ci.yml").write_bytes(DOCUMENTS.read_bytes())
    return folder


def test_the_documents_file_runs_as_it_is_written(person: Person, harbor: Harbor, shop: Path) -> None:
    commit = person.commit(shop, "update banner", **{"Dockerfile": DOCKERFILE, "package.json": "{}", "version": "one"})
    said = person.push(shop)
    assert "deployment.apps/marketing-site created" in said, said
    assert PASSWORD not in said
    (run,) = person.cluster.objects("pipelineruns", "-n", SPACE)
    image = f"{HARBOR}/frontend/marketing-site"
    assert run["status"]["phase"] == "Succeeded"
    assert run["status"]["image"] == f"{image}@{harbor.digest('frontend/marketing-site', commit)}"
    assert run["spec"]["trigger"] == {"kind": "push", "actor": "kubernetes-admin"}
    (deployment,) = person.cluster.objects("deployments", "-n", SPACE)
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == f"{image}:{commit}"
    assert "is live (v1)" in said and "site.corp.com" in said, said
    person.shows("site.corp.com", "<h1>one</h1>\n")


def release(person: Person, number: int) -> dict[str, Any]:
    name = f"marketing-site-v{number}"
    found: dict[str, Any] = json.loads(person.cluster.kubectl("-n", SPACE, "get", "release", name, "-o", "json"))
    return found


def test_what_the_kubectl_job_applied_is_a_release(person: Person, harbor: Harbor, shop: Path) -> None:
    made = release(person, 1)
    assert made["status"]["phase"] == "Live" and made["spec"]["actor"] == "kubernetes-admin"
    assert [one["kind"] for one in made["spec"]["manifests"]] == ["Service", "Deployment", "Ingress"]
    assert "@sha256:" in made["spec"]["image"] and "managedFields" not in json.dumps(made["spec"])
    pods = person.cluster.objects("replicasets", "-n", SPACE)
    assert len(pods) == 1, "adopting rolls nothing out a second time"
    second = person.commit(shop, "second", version="two")
    said = person.push(shop)
    assert "service/marketing-site-svc unchanged" in said and "is live (v2)" in said, said
    person.shows("site.corp.com", "<h1>two</h1>\n")
    assert len(release(person, 2)["spec"]["manifests"]) == 3
    listed = person.fairway("releases", "marketing-site", "-n", SPACE)
    assert second[:8] in listed and "v1" in listed


def test_wishes_that_do_not_reach_what_jobs_made_are_refused(person: Person, harbor: Harbor, shop: Path) -> None:
    for command in (("scale", "marketing-site", "3"), ("env", "marketing-site", "COLOUR=blue")):
        said = person.fairway(*command, "-n", SPACE, check=False)
        assert "jobs of the pipeline made the objects of production" in said and "and push" in said, said
    place = ("app", "marketing-site", "-n", SPACE)
    assert "blue" not in person.cluster.kubectl("get", *place, "-o", "json")

    def wish(replicas: int) -> Any:
        person.cluster.kubectl("patch", *place, "--type=merge", "-p", json.dumps({"spec": {"replicas": replicas}}))
        return lambda: person.fairway("app", "show", "marketing-site", "-n", SPACE)

    waited(wish(3), lambda shown: "spec.replicas: 3: jobs of the pipeline" in shown, "the condition")
    waited(wish(1), lambda shown: "Configured" not in shown, "no condition")


def test_going_back_applies_the_older_objects_by_digest(person: Person, shop: Path) -> None:
    person.fairway("rollback", "marketing-site", "-n", SPACE)
    waited(lambda: person.page("site.corp.com"), lambda page: page == "<h1>one</h1>\n", "the first version")
    waited(lambda: release(person, 3).get("status", {}).get("phase"), lambda phase: phase == "Live", "v3")
    (deployment,) = person.cluster.objects("deployments", "-n", SPACE)
    image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == release(person, 1)["spec"]["image"] and "@sha256:" in image
    person.fairway(
        "export", "marketing-site", "-n", SPACE, "--format", "manifests", "-o", str(person.home / "exported")
    )
    exported = "".join(path.read_text() for path in (person.home / "exported").rglob("*.yaml"))
    assert "kind: Ingress" in exported and image in exported


def test_a_rollout_that_fails_goes_back_by_itself(person: Person, shop: Path) -> None:
    person.commit(shop, "broken", Dockerfile=f'{DOCKERFILE}CMD ["sh", "-c", "echo no config; exit 3"]\n')
    said = person.push(shop, check=False)
    assert "v4 failed" in said and "no config" in said, said
    waited(lambda: release(person, 4)["status"].get("rolledBackTo"), bool, "the way back")
    waited(lambda: release(person, 5).get("status", {}).get("phase"), lambda phase: phase == "Live", "v5")
    person.shows("site.corp.com", "<h1>one</h1>\n")
    assert release(person, 5)["spec"]["actor"] == "policy"


def test_the_next_good_commit_goes_live_after_all_that(person: Person, shop: Path) -> None:
    person.commit(shop, "mended", Dockerfile=DOCKERFILE, version="three")
    said = person.push(shop)
    assert "is live (v6)" in said, said
    person.shows("site.corp.com", "<h1>three</h1>\n")


def test_a_run_that_fails_after_it_deployed_goes_back(person: Person, shop: Path) -> None:
    pipeline = DOCUMENTS.read_text() + "    - echo smoke test; exit 9\n"
    person.commit(shop, "smoke", **{".gitee-ci.yml": pipeline, "version": "four"})
    said = person.push(shop, check=False)
    assert "v7 failed" in said and "exit code 9" in said, said
    waited(lambda: person.page("site.corp.com"), lambda page: page == "<h1>three</h1>\n", "the version before")
    assert release(person, 7)["status"]["reason"] == "RunFailed"
    waited(lambda: release(person, 8).get("status", {}).get("phase"), lambda phase: phase == "Live", "v8")


def test_a_job_that_deploys_nothing_releases_nothing(person: Person, shop: Path) -> None:
    """It may look at everything all the same, as at any cluster: watches and streams go through."""
    pods = ("pods", "-n", SPACE, "-l", "app=marketing-site")
    waited(lambda: person.cluster.objects(*pods), lambda found: len(found) == 2, "the end of pods that leave")
    script = [
        "kubectl rollout status deployment/marketing-site",
        "kubectl exec deployment/marketing-site -- echo inside a pod",
        "ls /var/run/secrets /fairway/account /fairway/token || true",
    ]
    job = {"stages": ["deploy"], "deploy": {"image": "bitnami/kubectl", "script": script}}
    person.commit(shop, "look", **{".gitee-ci.yml": json.dumps(job)})
    said = person.push(shop)
    assert "no job changed an object of the cluster, so nothing is released" in said, said
    assert "successfully rolled out" in said and "inside a pod" in said.replace("echo inside a pod", ""), said
    assert "kubernetes.io" not in said and "ca.crt" not in said, "the job itself has no token"
    assert len(person.cluster.objects("releases", "-n", SPACE)) == 8
    assert "marketing-site-" in person.fairway("logs", "marketing-site", "-n", SPACE)


def test_nobody_takes_what_is_another_apps(person: Person, shop: Path) -> None:
    person.cluster.apply(
        f"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: theirs
  namespace: {SPACE}
  labels: {{app.kubernetes.io/managed-by: fairway, fairway.dev/app: other, fairway.dev/environment: production}}
"""
    )
    script = "kubectl annotate configmap theirs a=b"
    person.commit(
        shop, "take", **{".gitee-ci.yml": f"stages: [s]\ns: {{image: bitnami/kubectl, script: [{script}]}}\n"}
    )
    said = person.push(shop)
    assert "which is of App other" in said, said
    (theirs,) = (
        one for one in person.cluster.objects("configmaps", "-n", SPACE) if one["metadata"]["name"] == "theirs"
    )
    assert theirs["metadata"]["labels"]["fairway.dev/app"] == "other"
    assert "ownerReferences" not in theirs["metadata"]


# --- the three modes, and the case with three domains


MANIFESTS = Path(__file__).parents[1] / "documents"
KUSTOMIZATION = """
resources: [../base]
patches:
- target: {kind: Ingress}
  patch: |
    - op: replace
      path: /spec/rules/0/host
      value: order.corp.com
    - op: replace
      path: /spec/tls/0/hosts/0
      value: order.corp.com
"""


def own_site(person: Person, name: str, spec: str, **files: str) -> str:
    """An App with its repository, pushed; what the pusher saw."""
    person.cluster.apply(
        f"apiVersion: fairway.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n"
    )
    person.cluster.kubectl("wait", f"app/{name}", "--for=jsonpath={.status.gitUrl}", "--timeout=60s")
    folder = person.repository(name)
    person.fairway("app", "remote", name, folder=folder)
    person.commit(folder, "first", **files)
    return person.push(folder)


@pytest.mark.parametrize(
    ("name", "mode", "path", "host"),
    [
        ("by-hand", "manifests", "deploy", "site.test"),
        ("templated", "kustomize", "deploy/overlay", "order.corp.com"),
        ("by-platform", "generated", "", "user.corp.com"),
    ],
)
def test_every_mode_ends_in_the_same_releases(person: Person, name: str, mode: str, path: str, host: str) -> None:
    """The documents' manifests as they are; only image, host and names of objects are this test's."""
    document = (MANIFESTS / "marketing-site.yaml").read_text()
    document = document.replace("harbor.corp.com/frontend/marketing-site:$CI_COMMIT_SHA", "fairway")
    document = document.replace("site.corp.com", "site.test").replace("marketing-site", name)
    files = {"Dockerfile": "FROM nginx:latest\nCOPY index.html /usr/share/nginx/html/\n", "index.html": f"{name} one"}
    if mode == "manifests":
        files["deploy/site.yaml"] = document
    if mode == "kustomize":
        files |= {"deploy/base/site.yaml": document, "deploy/base/kustomization.yaml": "resources: [site.yaml]\n"}
        files["deploy/overlay/kustomization.yaml"] = KUSTOMIZATION
    said = own_site(person, name, f"{{domains: [{host}], deploy: {{mode: {mode}, path: '{path}'}}}}", **files)
    assert "is live (v1)" in said, said
    folder = person.home / name
    person.commit(folder, "second", **{"index.html": f"{name} two"})
    assert "is live (v2)" in person.push(folder)
    waited(lambda: asked(person, host), lambda page: page == f"{name} two", "the second version")
    person.fairway("rollback", name)
    waited(lambda: asked(person, host), lambda page: page == f"{name} one", "the first version")
    releases = [one["spec"] for one in person.cluster.objects("releases") if one["spec"]["app"] == name]
    assert {one["kind"] for one in releases[0]["manifests"]} >= {"Deployment", "Service", "Ingress"}
    assert all("@sha256:" in one["image"] and not one.get("adopted") for one in releases)


def asked(person: Person, host: str) -> str:
    """The page by curl; over TLS where the Ingress asks for it, else plain."""
    page = person.page(host)
    if page:
        return page
    target = f"{host}:{person.cluster.http}:127.0.0.1"
    command = ["curl", "--silent", "--max-time", "60", "--resolve", target, f"http://{host}:{person.cluster.http}/"]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False).stdout


def test_three_domains_and_then_two(person: Person) -> None:
    hosts = ("www.corp.com", "campaign.corp.com", "promo.corp.com")
    own_site(person, "activity", f"{{domains: [{', '.join(hosts)}]}}", **{"index.html": "one page"})
    for host in hosts:
        waited(lambda: curl(person, host), lambda answer: answer == "200 one page", host)  # noqa: B023 - called at once

    def certificates() -> list[tuple[str, str]]:
        """Of those that stay: what they are for, and the revision of their Secret."""
        found = [person.cluster.objects("secrets", f"--field-selector=metadata.name={host}-tls") for host in hosts[:2]]
        metadata = [one["metadata"] for (one,) in found]
        return [(one["annotations"]["certificates.fairway.dev/hosts"], one["resourceVersion"]) for one in metadata]

    before = certificates()
    assert [host for host, _ in before] == list(hosts[:2])
    person.cluster.kubectl(
        "patch", "app", "activity", "--type=merge", "-p", json.dumps({"spec": {"domains": list(hosts[:2])}})
    )

    def ruled() -> list[str]:
        (ingress,) = person.cluster.objects("ingresses", "-l", "fairway.dev/app=activity")
        return [rule["host"] for rule in ingress["spec"]["rules"]]

    waited(ruled, lambda found: found == list(hosts[:2]), "the rule's end")
    waited(lambda: curl(person, hosts[2]), lambda answer: "one page" not in answer, "the domain's end")
    assert [curl(person, host) for host in hosts[:2]] == ["200 one page"] * 2
    assert certificates() == before


def curl(person: Person, host: str) -> str:
    """Status and page over HTTPS by curl, as a browser checks it: the certificate must be for this very host."""
    root = person.cluster.state_dir / "pki" / "web-ca.crt"
    words = ["curl", "--silent", "--max-time", "60", "--cacert", str(root), "--write-out", "%{stderr}%{http_code} "]
    words += ["--resolve", f"{host}:{person.cluster.https}:127.0.0.1", f"https://{host}:{person.cluster.https}/"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=90, check=False)
    return done.stderr + done.stdout
