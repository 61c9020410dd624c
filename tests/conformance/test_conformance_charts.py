"""Helm's own library beside ours: the charts that we write, the charts that we render, and YAML as such."""

import json
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from exported_app import SPEC, app, exported, write
from foreign_suites import HERE
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fairway.delivery.export import Exported, helm, plain
from fairway.delivery.kinds.domains import tls_secret_name
from fairway.toolkit import go_yaml

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]  # the first test installs the clients
CHART = HERE / "features"
VALUES = {"image": {"repository": "registry.test/site", "tag": "v1"}, "given": {"large": 12345678, "list": [1, "a"]}}
Raw = dict[str, Any]
# The same examples each time: what there is to find was found with many more.
OFTEN = settings(max_examples=50, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Helm:
    """The library in a process that lives as long as the module."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def template(self, folder: Path, values: Raw) -> list[Raw]:
        made: list[Raw] = self._made("template", str(folder), values, "any", "shop")
        return made

    def lint(self, folder: Path) -> list[str]:
        found: list[str] = self._made("lint", str(folder))
        return found

    def yaml(self, text: str) -> Any:
        """The value; an error is None."""
        return self.ask("yaml", text).get("made")

    def ask(self, *wish: Any) -> Raw:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        answer: Raw = json.loads(self._process.stdout.readline())
        return answer

    def _made(self, *wish: Any) -> Any:
        answer = self.ask(*wish)
        assert "made" in answer, answer
        return answer["made"]


@pytest.fixture(scope="module")
def real_helm(suites: Any) -> Iterator[Helm]:
    command = [suites.python, HERE / "clients/helm_renderer.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Helm(process)


# --- charts that `fairway export` writes


def by_name(objects: list[Raw]) -> dict[str, Raw]:
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects}


def same(real_helm: Helm, one: Exported, folder: Path) -> None:
    """The chart, rendered by Helm, is what `--format manifests` says; only pods also tell the sum of the variables."""
    write(folder, helm(one))
    assert real_helm.lint(folder) == []
    made = by_name(real_helm.template(folder, {"env": dict.fromkeys(one.left_out, "CHANGE-ME")}))
    for raw in made.values():
        if raw["kind"] == "Deployment":
            notes = raw["spec"]["template"]["metadata"]["annotations"]
            assert len(notes.pop("checksum/env")) == 64
    wanted = by_name([real_helm.yaml(part) for part in plain(one).split("\n---\n")])
    for raw in wanted.values():
        assert raw["metadata"].pop("namespace") == "shop"
    assert made == wanted


@pytest.mark.parametrize("number", range(3))
def test_a_chart_is_what_runs(real_helm: Helm, number: int, tmp_path: Path) -> None:
    same(real_helm, exported(app(**SPEC))[number], tmp_path)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)
WORDS = st.sampled_from(
    ["y", "N", "on", "1e3", "0o17", "1_0", "22:22", "~", "{{ .Values }}", "}}", "{{", "a\nb", " a\n{{b"]
)
NAMES = st.from_regex(r"[-._a-zA-Z0-9]{1,8}", fullmatch=True) | st.sampled_from(["Y", "NO", "1e3", "017", "null", "<<"])


@OFTEN
@given(st.dictionaries(NAMES, TEXT | WORDS, max_size=4), TEXT | WORDS, st.lists(TEXT | WORDS, max_size=2))
@example({"A": "x\u2028y\x85z\ufeff"}, "\x7f\t", ["\r\n"])
def test_no_text_gets_lost_or_changed(
    real_helm: Helm, variables: dict[str, str], note: str, command: list[str]
) -> None:
    made = app(domains=["a.test"], deploy={"annotations": {"note": note}}, runtime={"command": command})
    (one,) = exported(made, "1234567e8901" + "0" * 28, variables=variables)
    with tempfile.TemporaryDirectory() as folder:
        same(real_helm, one, Path(folder))


def test_hosts_and_the_rest_are_values(real_helm: Helm, tmp_path: Path) -> None:
    write(tmp_path, helm(exported(app(**SPEC))[1]))
    hosts = ["new.test", "*.apps.test", "site.example.com"]
    before, after = (
        by_name(real_helm.template(tmp_path, values))
        for values in ({}, {"hosts": hosts, "replicas": 7, "image": "other:1", "env": {"COLOR": "red"}})
    )
    spec = after["Ingress/site"]["spec"]
    assert spec["tls"] == [{"hosts": [host], "secretName": tls_secret_name(host)} for host in hosts]
    assert [rule["host"] for rule in spec["rules"]] == hosts
    assert after["Deployment/site"]["spec"]["replicas"] == 7
    sums = []
    for one in (before, after):
        template = one["Deployment/site"]["spec"]["template"]
        sums.append(template["metadata"]["annotations"]["checksum/env"])
    assert template["spec"]["containers"][0]["image"] == "other:1" and len(set(sums)) == 2
    assert "Ingress/site" not in by_name(real_helm.template(tmp_path, {"hosts": []}))


# --- charts of repositories


def as_fairway(suites: Any, chart: Path, folder: Path, values: Raw) -> "subprocess.CompletedProcess[str]":
    """By the package, in a Python that has both it and Fairway."""
    file = folder / "values.json"
    file.write_text(json.dumps(values))
    found = f"{Path(__file__).parents[2] / 'src'}:{sysconfig.get_path('purelib')}:{sysconfig.get_path('platlib')}"
    command = [suites.python, HERE / "clients/helm_as_fairway.py", chart, "any", "shop", file]
    environment = {"PYTHONPATH": found, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_what_a_release_renders_is_what_helm_renders(real_helm: Helm, suites: Any, tmp_path: Path) -> None:
    """A chart with everything: helpers, a library, subcharts by condition, tag and alias, values up and down, files."""
    done = as_fairway(suites, CHART, tmp_path, VALUES)
    assert done.returncode == 0, done.stderr
    made = [one for one in yaml.load_all(done.stdout, go_yaml.Loader) if one]
    plainly = [one for one in made if "helm.sh/hook" not in one["metadata"].get("annotations", {})]
    wanted = real_helm.template(CHART, VALUES)
    assert by_name(plainly) == by_name(wanted) and len(plainly) == len(wanted)
    assert by_name(made).keys() - by_name(wanted).keys() == {"Pod/any-test"}
    assert {"ConfigMap/any-all", "ConfigMap/any-other", "ConfigMap/any-tagged"} == {
        name for name in by_name(wanted) if name.startswith("ConfigMap")
    }


@pytest.mark.parametrize(
    ("file", "text", "wanted"),
    [
        ("Chart.yaml", "dependencies: [{name: absent, version: 1.0.0}]", "missing in charts/ directory: absent"),
        ("Chart.yaml", "kubeVersion: '<1.0.0'", "chart requires kubeVersion: <1.0.0"),
        ("values.schema.json", '{"required": ["owner"]}', "missing property 'owner'"),
        ("templates/more.yaml", "a: [", "YAML parse error on small/templates/more.yaml"),
        ("templates/more.yaml", '{{ required "say who" .Values.owner }}', "say who"),
        ("templates/more.yaml", '{{ fail "not so" }}', "not so"),
        ("templates/more.yaml", "{{ .Values.a.b.c }}", "nil pointer"),
        ("templates/more.yaml", "{{ nothing }}", 'function "nothing" not defined'),
    ],
)
def test_what_helm_refuses_is_refused(
    real_helm: Helm, suites: Any, tmp_path: Path, file: str, text: str, wanted: str
) -> None:
    chart = tmp_path / "small"
    write(chart, {"Chart.yaml": "apiVersion: v2\nname: small\nversion: 1.0.0\n", "templates/a.yaml": "kind: Secret\n"})
    with (chart / file).open("a") as handle:
        handle.write(text)
    done = as_fairway(suites, chart, tmp_path, {})
    assert done.returncode != 0 and wanted in done.stderr, done.stderr
    assert wanted in real_helm.ask("template", str(chart), {}, "any", "shop")["refused"]


# --- YAML


PLAIN = st.text(st.sampled_from("0123456789abefxoXOByYnN._+-:~<="), min_size=1, max_size=12)


@settings(max_examples=1000, derandomize=True, deadline=None)
@given(PLAIN)
@example("1e400")
@example("0b")
@example("08")
@example("-0x1F")
@example("1.")
@example("18446744073709551616")
def test_bare_words_are_read_alike(real_helm: Helm, word: str) -> None:
    text = f"a: {word}\n"
    try:
        found = yaml.load(text, go_yaml.Loader)
    except yaml.YAMLError:
        found = None
    wanted = real_helm.yaml(text)
    if found is None:
        assert wanted is None or wanted == {"a": "<<"}
    elif type(found["a"]) in (int, float):
        assert float(found["a"]) == float(wanted["a"])  # what comes through Helm has been a float for a while
    else:
        assert found == wanted


@pytest.mark.parametrize("word", ["y", "off", "1", "0x10", "017", "1.5", "1:30", "2026-01-01", "=", "''"])
def test_keys_become_text_alike(real_helm: Helm, word: str) -> None:
    assert yaml.load(f"{word}: a\n", go_yaml.Loader) == real_helm.yaml(f"{word}: a\n")
