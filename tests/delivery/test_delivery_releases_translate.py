"""Generated objects: golden pairs, and the rules that a table tells better."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fairway.delivery.export.yaml_text import documents
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.domains import tls_secret_name
from fairway.delivery.releases.manifests import problem_of
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.translate import generated
from fairway.kube.api.noun import decode

GOLDEN = Path(__file__).parent.parent / "golden" / "delivery"
IMAGE = "registry.example.com/site@sha256:" + "a" * 64
Raw = dict[str, Any]


def app(name: str = "site", **spec: Any) -> App:
    return decode(App, {"metadata": {"name": name, "namespace": "default", "uid": "1"}, "spec": spec})


def deployment(made: App, environment: int = 0, **more: Any) -> Raw:
    given: Raw = {"image": IMAGE, "port": 8080, "commit": "a1b2c3d4e5f6" + "0" * 28, **more}
    return dict(next(one for one in generated(made, environments(made)[environment], **given) if "Dep" in one["kind"]))


def container(made: App, **more: Any) -> Raw:
    found: Raw = deployment(made, **more)["spec"]["template"]["spec"]["containers"][0]
    return found


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.app.yaml")), ids=lambda path: path.name.partition(".")[0])
def test_golden(path: Path, request: pytest.FixtureRequest) -> None:
    given = yaml.safe_load(path.read_text())
    made = decode(App, given["app"])
    parts = [
        documents(generated(made, environment, image=IMAGE, **given["build"])) for environment in environments(made)
    ]
    text = "---\n".join(parts)
    expected = path.with_name(path.name.replace(".app.", ".objects."))
    if request.config.getoption("--update-golden"):
        expected.write_text(text)
    assert text == expected.read_text()


@pytest.mark.parametrize(
    ("spec", "port", "wanted"),
    [
        ({}, 3000, 3000),
        ({"runtime": {"port": 9000}}, 3000, 9000),
        ({}, 0, 8080),
        ({"build": {"strategy": "static"}}, 0, 8080),
    ],
)
def test_the_port(spec: Raw, port: int, wanted: int) -> None:
    made = container(app(**spec), port=port)
    assert made["ports"][0]["containerPort"] == wanted
    assert made["env"] == [{"name": "PORT", "value": str(wanted)}]


@pytest.mark.parametrize(
    ("spec", "probe"),
    [
        pytest.param({}, {"tcpSocket": {"port": "http"}}, id="a program: its port accepts"),
        pytest.param(
            {"build": {"strategy": "static"}}, {"httpGet": {"path": "/", "port": "http"}}, id="a site: there is a page"
        ),
        pytest.param(
            {"runtime": {"probe": {"path": "/up", "port": 81}}},
            {"httpGet": {"path": "/up", "port": 81}},
            id="as wished",
        ),
        pytest.param(
            {"build": {"strategy": "static"}, "runtime": {"probe": {}}},
            {"tcpSocket": {"port": "http"}},
            id="an empty wish is one",
        ),
    ],
)
def test_there_is_always_a_probe(spec: Raw, probe: Raw) -> None:
    made = container(app(**spec))["readinessProbe"]
    assert made | probe == made
    assert made["periodSeconds"] == 1


def test_a_person_s_own_port_variable_wins() -> None:
    made = container(app(env=[{"name": "PORT", "value": "1"}]), configuration="site-env-1")
    assert "env" not in made and made["envFrom"] == [{"secretRef": {"name": "site-env-1"}}]


@pytest.mark.parametrize(("port", "bind"), [(80, True), (1024, False)])
def test_only_low_ports_get_the_right_to_bind_them(port: int, bind: bool) -> None:
    security = container(app(), port=port)["securityContext"]
    assert ("NET_BIND_SERVICE" in security["capabilities"]["add"]) is bind
    assert security["capabilities"]["drop"] == ["ALL"] and security["allowPrivilegeEscalation"] is False


@pytest.mark.parametrize(("user", "who"), [("1000", {"runAsUser": 1000}), ("1:2", {"runAsUser": 1, "runAsGroup": 2})])
def test_an_image_that_is_not_root_keeps_to_the_level_restricted(user: str, who: Raw) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    made = deployment(app(), port=80, user=user)["spec"]["template"]["spec"]
    nobody = {"runAsNonRoot": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert made["containers"][0]["securityContext"] == {**nobody, **who}
    low = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]
    assert made["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}, "sysctls": low}
    high = deployment(app(), port=8080, user=user)["spec"]["template"]["spec"]
    assert "sysctls" not in high["securityContext"]


def test_never_one_ready_pod_less() -> None:
    assert deployment(app())["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": "25%"}


def test_selectors_differ_between_environments_and_never_within() -> None:
    made = app(environments=[{"name": "staging"}, {"name": "production"}])
    staging, production = (deployment(made, number)["spec"]["selector"] for number in (0, 1))
    assert staging != production
    assert deployment(made, 0, commit="f" * 40, image="x@sha256:2")["spec"]["selector"] == staging


def test_a_domain_that_comes_changes_nothing_for_the_others() -> None:
    def certificates(*domains: str) -> list[Raw]:
        made = app(domains=list(domains))
        found: list[Raw] = generated(made, environments(made)[0], image=IMAGE)[-1]["spec"]["tls"]
        return found

    few, more = certificates("b.test", "*.b.test"), certificates("a.test", "*.b.test", "b.test")
    assert [one for one in more if one not in few] == [{"hosts": ["a.test"], "secretName": "a.test-tls"}]


def test_no_two_hosts_share_a_secret() -> None:
    long = ".".join(["a" * 62] * 4)
    hosts = ("b.test", "*.b.test", "wildcard.b.test", "literal-wildcard.b.test", "b.test-tls", long, f"*.{long[1:]}")
    names = {tls_secret_name(host) for host in hosts}
    assert len(names) == len(hosts)
    assert names >= {"b.test-tls", "wildcard.b.test-tls"} and all(len(name) <= 253 for name in names)


def test_what_is_generated_passes_its_own_check() -> None:
    made = app(domains=["a.example", "*.b.example"])
    (environment,) = environments(made)
    objects = generated(made, environment, image=IMAGE, port=80)
    place = Place("default", "site", "production")
    assert problem_of(objects, place, environment.domains) is None
    refused = problem_of(objects, place, ("a.example",))
    assert refused is not None and "*.b.example is not a domain that the App holds" in refused.text
