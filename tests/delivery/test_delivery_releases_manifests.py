"""Own manifests of a repository: read, checked, and rendered by the real programs."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairway.delivery.kinds.apps import App
from fairway.delivery.releases import kustomizations, templates
from fairway.delivery.releases.manifests import Values, read, with_hosts
from fairway.delivery.releases.objects import Manifests, Place
from fairway.delivery.releases.world import Problem, ReleaseWorld
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

Raw = dict[str, Any]
IMAGE = "registry.example.com/site@sha256:" + "a" * 64
VALUES = Values(
    Place("default", "site", "production"),
    image=IMAGE,
    port=8080,
    commit="c" * 40,
    hosts=("site.example.com", "*.apps.example.com"),
    configuration="site-env-12345678",
)
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: elsewhere, finalizers: [x], ownerReferences: [{}], labels: {a: b}}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      containers:
      - {name: web, image: "${IMAGE}", envFrom: [{secretRef: {name: "${CONFIGURATION}"}}]}
      - {name: side, image: fairway}
      - {name: site, image: "old:1"}
      - {name: proxy, image: "proxy:1"}
status: {replicas: 1}
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: "%s"}]}
"""


def made(*texts: str) -> Manifests:
    found = read([(f"{number}.yaml", text) for number, text in enumerate(texts)], VALUES)
    assert not isinstance(found, Problem), found.text
    return found


def refused(*texts: str) -> str:
    found = read([("deploy/x.yaml", text) for text in texts], VALUES)
    assert isinstance(found, Problem)
    return found.text


def test_placeholders_names_and_namespace() -> None:
    (one,) = made(DEPLOYMENT)
    assert one["metadata"] == {
        "name": "web",
        "namespace": "default",
        "labels": {
            "a": "b",
            "app.kubernetes.io/managed-by": "fairway",
            "fairway.dev/app": "site",
            "fairway.dev/environment": "production",
        },
    }
    assert "status" not in one and one["spec"]["progressDeadlineSeconds"] == 120
    containers = one["spec"]["template"]["spec"]["containers"]
    assert [container["image"] for container in containers] == [IMAGE, IMAGE, IMAGE, "proxy:1"]
    assert containers[0]["envFrom"][0]["secretRef"]["name"] == "site-env-12345678"


def test_the_order_is_that_of_applying_and_lists_are_opened() -> None:
    service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {}}"
    text = f"apiVersion: v1\nkind: List\nitems: [{service}]"
    found = made(INGRESS % "site.example.com", DEPLOYMENT, text, "---\n# nothing\n---\n")
    assert [one["kind"] for one in found] == ["Service", "Deployment", "Ingress"]


def test_a_value_cannot_add_fields() -> None:
    hostile = Values(Place("default", "site", "production"), image='x"\n    privileged: true')
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  image: ${IMAGE}\n"
    found = read([("x.yaml", text)], hostile)
    assert not isinstance(found, Problem) and found[0]["data"] == {"image": hostile.image}


@pytest.mark.parametrize("host", ["site.example.com", "x.apps.example.com", "${DOMAIN}"])
def test_hosts_that_the_app_holds(host: str) -> None:
    (one,) = made(INGRESS % host)
    assert one["spec"]["rules"][0]["host"] in ("site.example.com", "x.apps.example.com")


POD = "apiVersion: v1\nkind: %s\nmetadata: {name: x}\nspec: {template: {spec: {%s}}}"
JOB = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: x}\nspec: {template: {spec: {%s}}}"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("", "no manifests", id="nothing"),
        pytest.param("a: [", "not YAML", id="not YAML"),
        pytest.param("- a", "holds a list", id="not an object"),
        pytest.param("a: !!python/object:os.system {}", "not YAML", id="no objects of Python"),
        pytest.param(BOMB, "too many", id="a bomb of aliases"),
        pytest.param("a: " + "[" * 200 + "]" * 200, "nested", id="deep"),
        pytest.param("null: a", "not YAML", id="a key that is nothing"),
        pytest.param("a: !!binary YQ==", "quote it", id="bytes"),
        pytest.param("a: .inf", "not YAML", id="a number without end"),
        pytest.param(
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}", "may not hold Namespace", id="cluster-wide"
        ),
        pytest.param("apiVersion: v1\nkind: Pod\nmetadata: {name: x}", "may not hold Pod", id="bare pods"),
        pytest.param("apiVersion: v1\nkind: Service\nmetadata: {}", "no metadata.name", id="no name"),
        pytest.param(DEPLOYMENT + "---\n" + DEPLOYMENT, "there twice", id="twice"),
        pytest.param(JOB % "hostNetwork: true", "hostNetwork", id="host network"),
        pytest.param(JOB % "volumes: [{name: v, hostPath: {path: /}}]", "hostPath", id="host path"),
        pytest.param(
            JOB % "containers: [{name: c, securityContext: {privileged: true}}]", "privileged", id="privileged"
        ),
        pytest.param(
            JOB % "initContainers: [{name: c, securityContext: {capabilities: {add: [SYS_ADMIN]}}}]",
            "initContainers[c].securityContext.capabilities.add: SYS_ADMIN",
            id="a capability",
        ),
        pytest.param(JOB % "containers: [{name: c, ports: [{hostPort: 80}]}]", "hostPort", id="host port"),
        pytest.param(INGRESS % "other.example.com", "not a domain that the App holds here", id="a host of others"),
        pytest.param(
            (INGRESS % "site.example.com").replace("rules:", "tls: [{hosts: [other.example.com]}], rules:"),
            "spec.tls[0].hosts: other.example.com is not a domain that the App holds here",
            id="a certificate of others",
        ),
        pytest.param(INGRESS % "", "must be named", id="every host"),
        pytest.param(
            (INGRESS % "site.example.com").replace("rules:", "defaultBackend: {service: {}}, rules:"),
            "defaultBackend",
            id="default backend",
        ),
        pytest.param(
            "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {externalIPs: [1.2.3.4]}",
            "externalIPs",
            id="external addresses",
        ),
        pytest.param(
            'apiVersion: batch/v1\nkind: Job\nmetadata: {name: x, annotations: {"helm.sh/hook": pre-install}}',
            "hooks are not run",
            id="a hook",
        ),
        pytest.param(
            f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {{a: {'x' * 1_000_000}}}",
            "bytes; a Release holds at most",
            id="too large",
        ),
    ],
)
def test_what_is_refused_names_the_file_and_the_field(text: str, wanted: str) -> None:
    found = refused(text)
    assert wanted in found
    assert "deploy/x.yaml" in found or wanted in ("no manifests", "there twice") or "bytes" in found


def test_words_are_read_as_kubectl_reads_them() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {1: 22:22, 2: 2026-01-01, 3: 1e3, 4: y, on: =}"
    (one,) = made(text)
    assert one["data"] == {"1": "22:22", "2": "2026-01-01", "3": 1000, "4": True, "true": "="}


def test_hosts_that_are_lost_leave_the_rest() -> None:
    text = (
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: web}\n"
        "spec: {rules: [{host: %s}, {host: %s}], tls: [{hosts: [%s]}]}"
    )
    (one,) = made(text % ("site.example.com", "x.apps.example.com", "x.apps.example.com"))
    (left,) = with_hosts((one,), ("site.example.com",))
    assert left["spec"] == {"rules": [{"host": "site.example.com"}], "tls": []}
    assert with_hosts((one,), ()) == ()


# --- from a commit


class Folder:
    """Sources with one commit: the files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def checkout(self, key: ObjectKey, commit: str, path: str, destination: Path, *, bytes_max: int) -> object:
        return shutil.copytree(self.folder, destination, symlinks=True)


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_yaml", ".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


async def rendered(folder: Path, mode: str, path: str, *, helm: str = "", **deploy: Any) -> Manifests | Problem:
    app = decode(
        App,
        {
            "metadata": {"name": "site", "namespace": "default"},
            "spec": {"deploy": {"mode": mode, "path": path, **deploy}},
        },
    )
    async with HttpClient(unix_connector(folder / "nobody.sock"), host_header="localhost") as http:
        with tempfile.TemporaryDirectory() as scratch:
            Path(scratch).chmod(0o755)
            world = ReleaseWorld(ApiClient(http), SystemClock(), Folder(folder), Path(scratch), helm=helm)
            found = await templates.render(world, app, VALUES)
            assert not list(Path(scratch).iterdir())
    return found


@pytest.fixture
def program() -> Iterator[Path]:
    """A place for a program that every user may run."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "helm"


def write(program: Path, text: str) -> str:
    program.write_text(text)
    program.chmod(0o755)
    return str(program)


async def test_plain_manifests_of_a_folder(tmp_path: Path) -> None:
    tree = files(tmp_path / "t", deploy__web_yaml=DEPLOYMENT, deploy__more__i_yaml=INGRESS % "${DOMAIN}", x_yaml="a: [")
    found = await rendered(tree, "manifests", "deploy")
    assert not isinstance(found, Problem), found.text
    assert [one["kind"] for one in found] == ["Deployment", "Ingress"]


@pytest.mark.parametrize("path", ["nowhere", "../../etc", "/etc"])
async def test_a_folder_that_is_not_there(tmp_path: Path, path: str) -> None:
    found = await rendered(files(tmp_path / "t", web_yaml=DEPLOYMENT), "manifests", path)
    assert isinstance(found, Problem) and f'no folder "{path}"' in found.text


KUSTOMIZATION = "resources: [../base]\nnameSuffix: -x\n"


@pytest.mark.real
async def test_a_kustomization_by_the_real_program(tmp_path: Path) -> None:
    tree = files(
        tmp_path / "t",
        base__web_yaml=DEPLOYMENT,
        base__kustomization_yaml="resources: [web.yaml]\n",
        over__kustomization_yaml=KUSTOMIZATION,
    )
    found = await rendered(tree, "kustomize", "over")
    assert not isinstance(found, Problem), found.text
    assert found[0]["metadata"]["name"] == "web-x" and found[0]["metadata"]["namespace"] == "default"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("resources: ['https://example.com/x.yaml']", "remote"),
        ("resources: ['github.com/owner/repo//base?ref=v1']", "remote"),
        ("resources: ['git@example.com:owner/repo']", "remote"),
        ("resources: ['owner/repo']", "not in the repository"),
        ("resources: ['../../../etc']", "not in the repository"),
        ("bases: ['ssh://git@example.com/x']", "remote"),
        ("configMapGenerator: [{name: c, files: ['k=https://x'], envs: ['http://x']}]", "remote"),
        ("helmCharts: [{name: x}]", "charts are not fetched"),
        ("openapi: {path: 'https://x/y'}", "remote"),
        ("a: [", "not YAML"),
    ],
)
def test_nothing_is_fetched(tmp_path: Path, text: str, wanted: str) -> None:
    files(tmp_path, over__kustomization_yaml=text)
    found = kustomizations.problem_of(tmp_path)
    assert found is not None and wanted in found.text and "over/kustomization.yaml" in found.text


def test_urls_in_texts_are_just_texts(tmp_path: Path) -> None:
    files(
        tmp_path,
        kustomization_yaml="commonAnnotations: {home: 'https://x'}\nconfigMapGenerator: [{name: c, literals: ['a=https://x']}]",
    )
    assert kustomizations.problem_of(tmp_path) is None


HELM = r"""#!/bin/sh
[ "$1 $4 $5 $6" = "template --namespace default --values" ] || { echo "$*" >&2; exit 1; }
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n'
printf 'data:\n  name: %s\n  user: "%s"\n  values: |\n    ' "$2" "$(id -u)"
cat "$7"
"""


async def test_a_chart_gets_the_values_of_the_app_and_the_image(tmp_path: Path, program: Path) -> None:
    helm = write(program, HELM)
    tree = files(tmp_path / "t", chart__Chart_yaml="name: x\nversion: 1.0.0\n")
    values = {"ingress": {"host": "${DOMAIN}"}, "image": {"pullPolicy": "Always"}}
    found = await rendered(tree, "helm", "chart", helm=helm, values=values)
    assert not isinstance(found, Problem), found.text
    data = found[0]["data"]
    given = json.loads(data["values"])
    assert given["ingress"] == {"host": "site.example.com"}
    tag = "c" * 12 + "@sha256:" + "a" * 64
    assert given["image"] == {"pullPolicy": "Always", "repository": "registry.example.com/site", "tag": tag}
    assert given["fairway"]["configuration"] == "site-env-12345678"
    assert data["name"] == "site" and (os.geteuid() != 0 or data["user"] == "65534")


async def test_a_program_that_fails_says_why(tmp_path: Path, program: Path) -> None:
    helm = write(program, "#!/bin/sh\necho 'chart is broken' >&2\nexit 1\n")
    found = await rendered(files(tmp_path / "t", chart__Chart_yaml="x: y"), "helm", "chart", helm=helm)
    assert found == Problem("helm refuses: chart is broken")
    for endless in ("yes", "yes >&2", "yes | tr -d '\\n'"):  # none of it comes into our memory
        helm = write(program, f"#!/bin/sh\n{endless}\n")
        found = await rendered(files(tmp_path / endless[-3:], chart__Chart_yaml="x: y"), "helm", "chart", helm=helm)
        assert isinstance(found, Problem) and found.text.startswith("helm ") and len(found.text) < 700
