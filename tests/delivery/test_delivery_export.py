"""What leaves Fairway: files that kubectl and helm take as they are."""

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from exported_app import IMAGE, SPEC, app, exported, write

from fairway.delivery.export import helm, kustomize, plain
from fairway.delivery.export.difference import difference
from fairway.delivery.export.yaml_text import document

GOLDEN = Path(__file__).parent.parent / "golden" / "delivery" / "chart"
Raw = dict[str, Any]


def test_plain_manifests_name_what_is_left_out() -> None:
    text = plain(exported(app(domains=["a.example"]))[0])
    secret, service, deployment, ingress = yaml.safe_load_all(text)
    assert text.startswith("# Without the values of PASSWORD")
    assert secret["stringData"] == {"COLOR": "production", "PASSWORD": "CHANGE-ME"}
    assert {one["metadata"]["namespace"] for one in (secret, service, deployment, ingress)} == {"shop"}
    pod = deployment["spec"]["template"]["spec"]["containers"][0]
    assert pod["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    assert "managed-by" not in text


def test_no_anchors_in_yaml() -> None:
    assert "&id" not in plain(exported(app())[0])


@pytest.mark.real
def test_an_overlay_is_what_the_environment_runs_on(tmp_path: Path) -> None:
    every = exported(app(**SPEC))
    write(tmp_path, kustomize(every))
    for one in every:
        built = {key(raw): raw for raw in kubectl(tmp_path / "overlays" / one.environment)}
        wanted = {key(raw): raw for raw in yaml.safe_load_all(plain(one))}
        assert built == wanted
    assert {raw["kind"] for raw in kubectl(tmp_path / "base")} == {"Secret", "Service", "Deployment"}


@pytest.mark.real
def test_one_environment_is_a_base_and_an_overlay(tmp_path: Path) -> None:
    (one,) = exported(app(domains=["a.example"]))
    write(tmp_path, kustomize((one,)))
    built = {key(raw): raw for raw in kubectl(tmp_path / "overlays" / "production")}
    assert built == {key(raw): raw for raw in yaml.safe_load_all(plain(one))}


def test_the_chart(request: pytest.FixtureRequest) -> None:
    files = helm(exported(app(**SPEC))[1])
    if request.config.getoption("--update-golden"):
        write(GOLDEN, files)
    found = {str(path.relative_to(GOLDEN)): path.read_text() for path in GOLDEN.rglob("*") if path.is_file()}
    assert dict(files) == found


def test_values_of_the_chart() -> None:
    files = helm(exported(app(**SPEC))[1])
    assert yaml.safe_load(files["values.yaml"]) == {
        "replicas": 3,
        "image": IMAGE,
        "hosts": ["site.example.com", "www.example.com"],
        "env": {"COLOR": "production", "PASSWORD": ""},
    }


@pytest.mark.parametrize("word", ["y", "N", "on", "1e3", "1234567e8901", "0o17", "1_000", ".5", "08", "~", ".inf"])
def test_no_text_reads_as_something_else(word: str) -> None:
    """Of which commits in labels are the most likely to look like a number."""
    assert document({word: word}) == f"'{word}': '{word}'\n"
    assert document({"a": [1.5, 7, True, None, "plain", "25%", "1.2.3"]}).count("'") == 0


def test_text_of_objects_is_no_template() -> None:
    text = helm(exported(app(**SPEC))[1])["templates/ingress-site.yaml"]
    assert 'a {{ "{{" }} brace }} and' in text


@pytest.mark.parametrize(
    ("tls", "wanted"),
    [
        pytest.param([], "", id="none"),
        pytest.param([{"hosts": ["a.test", "b.test"], "secretName": "all"}], "secretName: all", id="one for all"),
        pytest.param([{"hosts": ["a.test"], "secretName": "all"}], None, id="not for all"),
        pytest.param(
            [{"hosts": [host], "secretName": f"{host}-tls"} for host in ("a.test", "b.test")], "range", id="each"
        ),
        pytest.param([{"hosts": [host], "secretName": host} for host in ("a.test", "b.test")], None, id="other names"),
    ],
)
def test_hosts_are_a_value_where_a_list_says_all(tls: list[Raw], wanted: str | None) -> None:
    (made,) = exported(app(domains=["a.test", "b.test"]))
    (*others, ingress) = made.manifests
    files = helm(
        msgspec.structs.replace(made, manifests=(*others, {**ingress, "spec": {**ingress["spec"], "tls": tls}}))
    )
    text = files["templates/ingress-site.yaml"].partition("  rules:")[0]
    assert ("hosts" in yaml.safe_load(files["values.yaml"])) is (wanted is not None)
    assert (wanted or "") in text and ("tls:" in text) is bool(tls)


@pytest.mark.parametrize(
    ("before", "after", "operations"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [{"op": "replace", "path": "/a", "value": 2}]),
        ({"a/b": 1}, {"c~d": 1}, [{"op": "remove", "path": "/a~1b"}, {"op": "add", "path": "/c~0d", "value": 1}]),
        ({"a": [1, 2]}, {"a": [1, 3]}, [{"op": "replace", "path": "/a/1", "value": 3}]),
        ({"a": [1]}, {"a": [1, 3]}, [{"op": "replace", "path": "/a", "value": [1, 3]}]),
    ],
)
def test_difference(before: Any, after: Any, operations: list[Raw]) -> None:
    assert list(difference(before, after)) == operations


def kubectl(folder: Path) -> list[Raw]:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return list(yaml.safe_load_all(done.stdout))


def key(raw: Raw) -> str:
    return json.dumps([raw["kind"], raw["metadata"]["name"]])
