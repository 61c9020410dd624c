"""The objects of a run, as golden files: read their diff before it is accepted."""

from pathlib import Path

import pytest
import yaml

from fairway.delivery.kinds.apps import Build, Variable
from fairway.delivery.pipelines import render
from fairway.delivery.pipelines.ir import Cache, Job, Service

GOLDEN = Path(__file__).parent / "pipelines"
PLACE = render.Place(
    namespace="team",
    app="site",
    run="site-7",
    uid="uid-7",
    folder="/workspace/web",
    endpoint_url="http://10.42.0.1:8900",
    toolbox_image="python:3-slim",
    program="PROGRAM",
    gate="GATE",
    pull_secret="harbor",
)
STEP = Job(
    "unit test",
    "test",
    image="node:20-slim",
    script=("npm ci", "cat <<EOF\nit's\nEOF"),
    after_script=("echo done",),
    services=(Service("postgres:16", ("postgres",), variables={"POSTGRES_PASSWORD": "x"}),),
    variables={"CI": "true", "PRICE": "$(5)", "TOKEN": "shadowed"},
    inputs=("build",),
    artifacts=("dist",),
    caches=(Cache("npm", (".npm",)),),
)
BUILD = Build(variables=(Variable(name="TOKEN", value_from={"secretKeyRef": {"name": "top", "key": "token"}}),))
NETWORK = render.Network("10.42.0.1", 8900, ("10.96.0.10", "10.42.0.1"), ("10.42.0.0/16", "10.96.0.0/16"))


def test_the_objects_of_a_step(request: pytest.FixtureRequest) -> None:
    made = [
        render.secret(PLACE, STEP, "site-7-unit-test", "TOKEN"),
        render.job(PLACE, STEP, BUILD, "site-7-unit-test", 1),
        render.network_policy("team", NETWORK, "build"),
        render.network_policy("team", NETWORK, "cluster"),
        *render.cluster_access("team"),
    ]
    text = yaml.dump_all(made, Dumper=_Plain, sort_keys=False, width=120)
    path = GOLDEN / "objects.out.yaml"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.read_text() == text


def test_only_a_job_about_the_cluster_gets_its_account() -> None:
    kubectl = Job("deploy", "deploy", image="bitnami/kubectl", script=("x",), cluster=True)
    for build, wanted in ((Build(), False), (Build(cluster_access="namespace"), True)):
        pod = render.job(PLACE, kubectl, build, "x", 1)["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False and ("serviceAccountName" in pod) is wanted
        gates = [one for one in pod["initContainers"] if one["name"] == "cluster"]
        assert bool(gates) is wanted
        script = next(one for one in pod["initContainers"] if one["name"] == "script")
        seen = {mount["name"] for mount in script["volumeMounts"]}
        assert ("cluster" in seen) is wanted and not seen & {"account", "token", "changes"}
    assert not render.job(PLACE, STEP, Build(cluster_access="namespace"), "x", 1)["spec"]["template"]["spec"].get(
        "serviceAccountName"
    )


def test_the_users_container_sees_neither_token_nor_platform() -> None:
    pod = render.job(PLACE, STEP, BUILD, "x", 1)["spec"]["template"]["spec"]
    users = [one for one in pod["initContainers"] if one["name"] not in ("source",)]
    for container in users:
        assert "token" not in [mount["name"] for mount in container.get("volumeMounts", [])]
        assert container["securityContext"] == {"allowPrivilegeEscalation": False, "privileged": False}
        assert {"cpu", "memory"} <= container["resources"]["limits"].keys()


class _Plain(yaml.SafeDumper):
    """Without anchors, and with tuples as lists."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Plain.add_representer(tuple, lambda dumper, data: dumper.represent_list(data))


def test_networks_inside_others_are_named_once() -> None:
    wished = ("10.0.0.0/8", "10.42.0.0/16", "192.0.2.7", "192.0.2.7/32", "fd00::/8", "198.51.100.0/24")
    assert render.collapsed(wished) == ("10.0.0.0/8", "192.0.2.7/32", "198.51.100.0/24")
