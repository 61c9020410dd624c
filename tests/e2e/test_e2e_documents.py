"""The documents' own manifests, applied as written with the real kubectl, serve their domains."""

import base64
from collections.abc import Iterator
from pathlib import Path

import browse
import pytest
from cluster import Cluster

from fairway.processes import pki

pytestmark = pytest.mark.real

DOCUMENTS = Path(__file__).parent.parent / "documents"
ELSEWHERE = {
    "harbor.corp.com/frontend/marketing-site:$CI_COMMIT_SHA": "nginx:alpine",
    "my-web:1.0": "nginx:alpine",
}


def document(name: str) -> str:
    text = (DOCUMENTS / name).read_text()
    for image, here in ELSEWHERE.items():
        text = text.replace(image, here)
    return text


@pytest.fixture
def clean(fairway_cluster: Cluster) -> Iterator[Cluster]:
    yield fairway_cluster
    fairway_cluster.kubectl("delete", "deployment,pod,service,ingress,secret", "--all", "--wait=true")


def get(cluster: Cluster, host: str, path: str = "/", *, status: int = 200, secure: bool = False) -> browse.Page:
    """The page, once it has that status."""
    return browse.until(cluster, host, path, status=status, secure=secure)


def echo(name: str) -> str:
    """A Deployment and Service of that name whose answers start with the name; the Service has ports 80 and 8080."""
    code = (
        "import http.server as h\\n"
        "class H(h.BaseHTTPRequestHandler):\\n"
        f" def do_GET(s): b=('{name} '+s.path).encode(); s.send_response(200);"
        " s.send_header('Content-Length',str(len(b))); s.end_headers(); s.wfile.write(b)\\n"
        "h.ThreadingHTTPServer(('',8080),H).serve_forever()"
    )
    return f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: echo
        image: python:3
        command: [python3, -c, "{code}"]
        readinessProbe: {{tcpSocket: {{port: 8080}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: alternative, port: 8080}}]
"""


def secret(cluster: Cluster, name: str, host: str, namespace: str = "default") -> None:
    certificate, key = pki.sign(pki.paths(cluster.state_dir), (host,))
    data = {"tls.crt": certificate, "tls.key": key}
    lines = "".join(f"  {file}: {base64.b64encode(pem).decode()}\n" for file, pem in data.items())
    cluster.apply(
        f"apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\n"
        f"metadata: {{name: {name}, namespace: {namespace}}}\ndata:\n{lines}"
    )


def ready(cluster: Cluster, *deployments: str) -> None:
    for name in deployments:
        cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")


def test_three_domains_on_one_service(clean: Cluster) -> None:
    clean.apply(echo("marketing-site-svc"))
    clean.apply(document("multi-domain.yaml"))
    ready(clean, "marketing-site-svc")
    for host in ("www.corp.com", "campaign.corp.com", "promo.corp.com"):
        assert get(clean, host, "/page").body == "marketing-site-svc /page"


def test_the_pipelines_own_deployment(clean: Cluster) -> None:
    clean.kubectl("create", "namespace", "prod-frontend")
    clean.apply(document("marketing-site.yaml"))
    secret(clean, "marketing-site-tls", "site.corp.com", "prod-frontend")
    clean.kubectl("rollout", "status", "-n", "prod-frontend", "deployment/marketing-site", "--timeout=60s")
    get(clean, "site.corp.com", secure=True)
    clean.kubectl("delete", "namespace", "prod-frontend", "--wait=true", "--timeout=120s")
    get(clean, "site.corp.com", status=404)


def test_two_backends_by_path_over_https(clean: Cluster) -> None:
    clean.apply(echo("api-service"))
    clean.apply(echo("image-service"))
    secret(clean, "my-tls-secret", "myapp.example.com")
    clean.apply(document("two-backends.yaml"))
    ready(clean, "api-service", "image-service")
    assert get(clean, "myapp.example.com", "/api/users", secure=True).body == "api-service /api/users"
    assert get(clean, "myapp.example.com", "/images", secure=True).body == "image-service /images"
    get(clean, "myapp.example.com", "/imagesque", status=404, secure=True)
    page = get(clean, "myapp.example.com", "/api", status=308)
    assert page.location == f"https://myapp.example.com:{clean.https}/api"


def test_the_rewrite_annotation_over_http_and_https(clean: Cluster) -> None:
    clean.apply(document("myapp.yaml"))
    ready(clean, "myapp")
    get(clean, "myapp.example.com")
    secret(clean, "myapp-tls-secret", "myapp.example.com")
    clean.kubectl("delete", "ingress", "myapp-ingress")
    clean.apply(document("myapp-tls.yaml"))
    get(clean, "myapp.example.com", secure=True)


def test_ingresses_by_annotation_class_and_with_unknown_annotations(clean: Cluster) -> None:
    clean.apply(echo("my-app-svc"))
    clean.apply(echo("user-service"))
    clean.apply(document("my-app-by-hand.yaml"))
    secret(clean, "user-corp-com-tls", "user.corp.com")
    clean.apply(document("user-service-generated.yaml"))
    ready(clean, "my-app-svc", "user-service")
    assert get(clean, "my-app.corp.com", "/x").body == "my-app-svc /x"
    assert get(clean, "user.corp.com", "/x", secure=True).body == "user-service /x"


def test_a_plain_pod_and_a_deployment_without_probes(clean: Cluster) -> None:
    clean.apply(document("my-web-pod.yaml"))
    clean.apply(document("my-web-app.yaml"))
    clean.kubectl("wait", "--for=condition=Ready", "pod/my-web", "--timeout=60s")
    ready(clean, "my-web-app")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("fragment-without-selector.yaml", "spec.selector"),
        ("fragment-without-path-type.yaml", "pathType"),
    ],
)
def test_fragments_are_refused_naming_the_field(clean: Cluster, name: str, field: str) -> None:
    answer = clean.kubectl("apply", "-f", "-", text=document(name), check=False)
    assert field in answer
    assert "equired" in answer or "must be specified" in answer
