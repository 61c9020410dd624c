"""The OpenAPI documents, and what a real kubectl makes of them."""

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.schema import Descriptions, Shape, descriptions, openapi
from fairway.engine.apiserver.schema.enums import ENUMS
from fairway.processes import doctor

SCHEMAS = schema.load()
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True)
class Kind:
    """What a registry entry looks like to `openapi`."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[str, ...] = ("status",)

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List" if "list" in self.verbs else ""


KINDS = (
    Kind("", "v1", "Pod", "pods", True),
    Kind("", "v1", "Namespace", "namespaces", False),
    Kind("", "v1", "ConfigMap", "configmaps", True, subresources=()),
    Kind("apps", "v1", "Deployment", "deployments", True),
    Kind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False, ("create",), ()),
    Kind("fairway.dev", "v1", "App", "apps", True),
)
CLAIMS = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True)
APP = {
    "type": "object",
    "description": "A site and where it comes from.",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["replicas"],
            "properties": {
                "replicas": {"type": "integer", "description": "How many."},
                "size": {"type": "string", "enum": ["small", "large"]},
            },
        }
    },
}
TOLD: dict[str, dict[str, str]] = {
    "io.k8s.api.apps.v1.DeploymentSpec": {"strategy": "What the field is for."},
    "io.k8s.api.apps.v1.DeploymentStrategy": {"": "What the type is.", "type": "One way or the other."},
    "io.k8s.api.core.v1.ConfigMap": {"kind": "What it is.", "metadata": "Who it is."},
    "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"creationTimestamp": "When."},
}


def _descriptions() -> Descriptions:
    return Descriptions(descriptions.unpack(descriptions.pack("a package", TOLD)))


def _document(group: str, version: str = "v1") -> dict[str, Any]:
    return openapi.document(SCHEMAS, KINDS, group, version, {"App": APP}, _descriptions())


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


@pytest.mark.parametrize("group", ["", "apps", "authorization.k8s.io", "fairway.dev"])
def test_every_reference_is_described(group: str) -> None:
    document = _document(group)
    assert set(_references(document)) <= document["components"]["schemas"].keys()


def test_a_patch_operation_names_its_kind_and_field_validation() -> None:
    patch = _document("apps")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert {parameter["name"] for parameter in patch["parameters"]} >= {"fieldValidation", "fieldManager", "dryRun"}


def test_merge_rules_stand_beside_the_fields() -> None:
    schemas = _document("")["components"]["schemas"]
    containers = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers == {
        "type": "array",
        "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.Container"}]},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "name",
    }
    assert schemas["io.k8s.api.core.v1.Pod"]["x-kubernetes-group-version-kind"] == [
        {"group": "", "version": "v1", "kind": "Pod"}
    ]


def test_a_kind_that_is_only_created_has_only_that() -> None:
    paths = _document("authorization.k8s.io")["paths"]
    assert {path: sorted(item) for path, item in paths.items()} == {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": ["post"]
    }


def test_a_custom_kind_has_its_schema_and_its_list() -> None:
    schemas = _document("fairway.dev")["components"]["schemas"]
    assert schemas["dev.fairway.v1.App"]["properties"]["spec"] == APP["properties"]["spec"]
    assert "dev.fairway.v1.AppList" in schemas


def test_only_built_in_kinds_take_strategic_merge_patches() -> None:
    strategic = "application/strategic-merge-patch+json"
    for group, wanted in (("apps", True), ("fairway.dev", False)):
        patches = [item["patch"] for item in _document(group)["paths"].values() if "patch" in item]
        assert patches and all((strategic in one["requestBody"]["content"]) == wanted for one in patches)


def test_descriptions_stand_beside_fields_and_types() -> None:
    schemas = _document("apps")["components"]["schemas"]
    strategy = schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"]
    assert strategy["description"] == "What the field is for."
    assert strategy["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"}]
    assert schemas["io.k8s.api.apps.v1.DeploymentStrategy"]["description"] == "What the type is."
    created = schemas["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]["creationTimestamp"]
    assert created["description"] == "When."
    app = _document("fairway.dev")["components"]["schemas"]["dev.fairway.v1.App"]
    assert app["description"] == APP["description"]
    assert app["properties"]["metadata"]["description"] == "Who it is."


def test_without_descriptions_the_rest_is_the_same() -> None:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if not isinstance(item, str) or key[:4] != "desc"}
        return [without(item) for item in value] if isinstance(value, list) else value

    plain = without(openapi.document(SCHEMAS, KINDS, "", "v1")["components"])
    assert plain.keys() == without(_document("")["components"]).keys()
    assert plain["schemas"].keys() == _document("")["components"]["schemas"].keys()


def test_a_damaged_file_of_descriptions_is_refused() -> None:
    packed = descriptions.pack("a package", TOLD)
    assert descriptions.source_of(packed) == "a package"
    for damaged in (b"", b"no gzip", packed[:-9], packed[: len(packed) // 2]):
        with pytest.raises(ValueError, match="not a file of descriptions"):
            descriptions.source_of(damaged)


def test_the_doctor_looks_where_the_server_reads() -> None:
    assert descriptions.file_path() == doctor.DESCRIPTIONS


@pytest.mark.parametrize("definition", sorted(ENUMS))
def test_enums_belong_to_texts_that_exist(definition: str) -> None:
    fields = SCHEMAS.named(definition).fields
    for name, values in ENUMS[definition].items():
        field = fields[name]
        shape = field.items.shape if field.items is not None else field.shape
        assert shape is Shape.STRING, name
        assert list(values) == sorted(set(values)), name


def test_enums_stand_beside_fields_and_items() -> None:
    schemas = _document("")["components"]["schemas"]
    restart = schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["restartPolicy"]
    assert restart["enum"] == ["Always", "Never", "OnFailure"]
    modes = openapi.document(SCHEMAS, [CLAIMS], "", "v1")["components"]["schemas"]
    access = modes["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]["accessModes"]
    assert "ReadWriteOnce" in access["items"]["enum"]
    assert access["x-kubernetes-list-type"] == "atomic"


def test_the_index_carries_hashes_where_they_are_known() -> None:
    encoded = json.dumps(_document("apps")).encode()
    index = openapi.index([("", "v1"), ("apps", "v1")], {("apps", "v1"): openapi.digest(encoded)})
    assert index["paths"]["api/v1"] == {"serverRelativeURL": "/openapi/v3/api/v1"}
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    assert url == f"/openapi/v3/apis/apps/v1?hash={openapi.digest(encoded)}"


def _discovery() -> dict[str, Any]:
    """The aggregated discovery of KINDS, by path."""
    answers: dict[str, Any] = {}
    for path in ("/api", "/apis"):
        items: dict[str, Any] = {}
        for kind in KINDS:
            if (kind.group == "") != (path == "/api"):
                continue
            resource = {
                "resource": kind.plural,
                "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
                "scope": "Namespaced" if kind.namespaced else "Cluster",
                "singularResource": kind.kind.lower(),
                "verbs": list(kind.verbs),
            }
            item = items.setdefault(kind.group, {"metadata": {"name": kind.group}, "versions": [{"version": "v1"}]})
            item["versions"][0].setdefault("resources", []).append(resource)
        answers[path] = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "items": list(items.values()),
        }
    return answers


class _Handler(BaseHTTPRequestHandler):
    """Discovery, OpenAPI and an echo of what is created: as much as kubectl asks for."""

    protocol_version = "HTTP/1.1"
    answers: dict[str, Any]

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, code: int, body: Any, media: str = "application/json") -> None:
        encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        media = "application/json"
        if path in ("/api", "/apis"):
            media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        if path in self.answers:
            self._answer(200, self.answers[path], media)
        else:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            self._answer(404, status)

    def do_POST(self) -> None:
        self._answer(201, self.rfile.read(int(self.headers["Content-Length"])))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    groups = sorted({(kind.group, kind.version) for kind in KINDS})
    answers = _discovery() | {"/openapi/v3": openapi.index(groups)}
    for group, version in groups:
        answers[f"/openapi/v3/{openapi.root(group, version)}"] = _document(group, version)
    handler = type("Handler", (_Handler,), {"answers": answers})
    listener = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    listener.server_close()
    thread.join()


def _kubectl(server: str, cache: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = ["kubectl", f"--server={server}", "--kubeconfig=/dev/null", f"--cache-dir={cache}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.real
@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("deployment.spec.strategy", "rollingUpdate\t<RollingUpdateDeployment>"),
        ("pods.spec.containers", "image\t<string>"),
        ("configmap", "data\t<map[string]string>"),
        ("deployment.spec.strategy", "What the field is for."),
        ("deployment.spec.strategy", "What the type is."),
        ("deployment.spec.strategy", "One way or the other."),
        ("deployment.spec.strategy.type", "ENUM:\n    Recreate\n    RollingUpdate"),
        ("deployment.spec", "selector\t<LabelSelector> -required-"),
        ("configmap", "Who it is."),
        ("apps.fairway.dev.spec", "replicas\t<integer> -required-"),
        ("apps.fairway.dev.spec", "How many."),
        ("apps.fairway.dev.spec.size", "ENUM:\n    small\n    large"),
        ("apps.fairway.dev", "A site and where it comes from."),
        ("apps.fairway.dev", "Who it is."),
    ],
)
def test_kubectl_explains(server: str, tmp_path: Path, field: str, expected: str) -> None:
    explained = _kubectl(server, tmp_path, "explain", field)
    assert explained.returncode == 0, explained.stderr
    assert expected in explained.stdout


@pytest.mark.real
def test_kubectl_validates_before_it_creates(server: str, tmp_path: Path) -> None:
    sound = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "d"}, "data": {"a": "b"}}
    created = _kubectl(server, tmp_path, "create", "-f", "-", stdin=json.dumps(sound))
    assert created.stdout == "configmap/c created\n", created.stderr
    document = json.loads(_kubectl(server, tmp_path, "get", "--raw", "/openapi/v3/api/v1").stdout)
    assert document["openapi"] == "3.0.0"


async def test_the_second_version_for_older_clients(api: Any) -> None:
    document = await api.get("/openapi/v2")
    deployment = document["definitions"]["io.k8s.api.apps.v1.Deployment"]
    assert deployment["properties"]["spec"]["$ref"] == "#/definitions/io.k8s.api.apps.v1.DeploymentSpec"
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "Deployment", "version": "v1"}
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    media = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    answer = await api.call("GET", "/openapi/v2", Accept=media)
    assert answer.headers["content-type"] == media.replace("@", ".")
    assert answer.body.startswith(b"\x0a\x032.0\x12")
