"""What is said about manifests and URLs, from the table and the translation that serve."""

import textwrap

import pytest
import yaml

from fairway.edge.explain import explain
from fairway.edge.lint import assumed, judge, lint
from fairway.edge.translate import translate

TEXT = textwrap.dedent("""\
    apiVersion: v1
    kind: List
    items:
    - apiVersion: networking.k8s.io/v1
      kind: Ingress
      metadata:
        name: a
        annotations:
          nginx.ingress.kubernetes.io/rewrite-target: /$2
          nginx.ingress.kubernetes.io/modsecurity-snippet: "x"
          nginx.ingress.kubernetes.io/proxy-read-timeout: soon
          nginx.ingress.kubernetes.io/proxy-buffering: "off"
          example.com/owner: team
      spec:
        ingressClassName: whatever
        rules:
        - host: a.test
          http:
            paths:
            - path: /app(/|$)(.*)
              pathType: ImplementationSpecific
              backend: {service: {name: web, port: {number: 80}}}
            - path: /files
              pathType: Prefix
              backend: {resource: {kind: Bucket, name: y}}
    ---
    apiVersion: networking.k8s.io/v1
    kind: Ingress
    metadata: {name: b}
    spec:
      tls: [{hosts: [b.test], secretName: none}]
      rules:
      - host: b.test
        http: {paths: [{path: /x, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {ports: [{port: 80}]}
    ---
    apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
    addressType: IPv4
    ports: [{name: "", port: 8080}]
    endpoints: [{addresses: [10.42.0.7], conditions: {ready: true}}]
    """)


def test_every_annotation_is_judged_where_it_stands() -> None:
    found = [(finding.line, finding.level, finding.subject.rpartition("/")[2]) for finding in lint(TEXT)]
    assert found == [
        (4, "refused", "ResourceBackend"),
        (9, "native", "rewrite-target"),
        (10, "refused", "modsecurity-snippet"),
        (11, "refused", "proxy-read-timeout"),
        (12, "harmless", "proxy-buffering"),
    ]


def test_what_is_good_or_none_of_ours_is_not_mentioned() -> None:
    assert lint("") == lint("# nothing\n---\n") == lint("[1, 2]") == ()
    assert lint("kind: Pod\nmetadata: {name: x, annotations: {nginx.ingress.kubernetes.io/x: y}}") == ()


def test_json_is_read_too_and_what_is_no_yaml_is_refused() -> None:
    text = '{"kind": "Ingress", "metadata": {"name": "x", "annotations": {"nginx.ingress.kubernetes.io/typo": "1"}}}'
    assert [(finding.line, finding.level) for finding in lint(text)] == [(1, "refused")]
    with pytest.raises(yaml.YAMLError):
        lint("a: [")


@pytest.mark.parametrize(
    ("name", "text", "level"),
    [
        ("proxy-body-size", "8m", "native"),
        ("proxy-body-size", "much", "refused"),
        ("proxy-buffering", "on", "harmless"),
        ("secure-backends", "true", "refused"),
    ],
)
def test_judgements(name: str, text: str, level: str) -> None:
    assert judge(f"nginx.ingress.kubernetes.io/{name}", text)[0] == level


@pytest.mark.parametrize(
    ("url", "facts"),
    [
        (
            "http://b.test/x/y?q=1",
            {"ingress": "b", "path": "/x (Prefix)", "backend": "/web:80 → 10.42.0.7:8080"},
        ),
        ("https://b.test/x", {"certificate": "the default certificate"}),
        ("b.test/none", {"answer": "404: no rule of this host fits the path"}),
        ("c.test", {"answer": "404: no Ingress names this host"}),
    ],
)
def test_a_url_is_explained(url: str, facts: dict[str, str]) -> None:
    snapshot = assumed(raw for raw in yaml.safe_load_all(TEXT))
    found = dict(explain(url, snapshot, translate(snapshot)).facts)
    assert {name: found.get(name) for name in facts} == facts


def test_a_rewrite_and_its_annotations_are_explained() -> None:
    raw = yaml.safe_load(TEXT.partition("---")[0])["items"][0]
    raw["metadata"]["annotations"].pop("nginx.ingress.kubernetes.io/proxy-read-timeout")
    raw["spec"]["rules"][0]["http"]["paths"].pop()
    others = list(yaml.safe_load_all(TEXT))[2:]
    snapshot = assumed([raw, *others])
    found = explain("a.test/app/deep", snapshot, translate(snapshot))
    facts = dict(found.facts)
    assert (facts["rewritten to"], facts["backend"]) == ("/deep", "/web:80 → 10.42.0.7:8080")
    assert [name.rpartition("/")[2] for name, _, _ in found.annotations] == [
        "modsecurity-snippet",
        "proxy-buffering",
        "rewrite-target",
    ]


def test_a_url_without_a_host_is_refused() -> None:
    with pytest.raises(ValueError, match="names no host"):
        snapshot = assumed([])
        explain("http:///x", snapshot, translate(snapshot))
