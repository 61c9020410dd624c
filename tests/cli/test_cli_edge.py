"""`fairway edge top` from metrics text to a table, and the commands from end to end."""

import argparse
from pathlib import Path

import pytest

from fairway.cli.edge import Counts, parse, screen, top
from fairway.processes.main import main
from fairway.processes.run_edge import config

BEFORE = """\
# TYPE fairway_edge_requests_total counter
fairway_edge_requests_total{host="a.test",path="/",code="2xx"} 10
fairway_edge_sent_bytes_total{host="a.test",path="/"} 1000
fairway_edge_healed_total 3
"""
AFTER = """\
fairway_edge_requests_total{host="a.test",path="/",code="2xx"} 30
fairway_edge_requests_total{host="a.test",path="/x",code="5xx"} 10
fairway_edge_requests_total{host="b.test",path="/",code="4xx"} 50
fairway_edge_request_duration_seconds_bucket{host="a.test",path="/",le="0.01"} 10
fairway_edge_request_duration_seconds_bucket{host="a.test",path="/",le="0.1"} 20
fairway_edge_request_duration_seconds_bucket{host="a.test",path="/",le="+Inf"} 20
fairway_edge_sent_bytes_total{host="a.test",path="/"} 5000
fairway_edge_received_bytes_total{host="a.test",path="/"} 12
"""


def test_the_busiest_comes_first_and_rates_are_differences() -> None:
    shown = screen(parse(BEFORE, by_path=False), parse(AFTER, by_path=False), 2.0, rows=5)
    assert [line.split() for line in shown.splitlines()] == [
        ["DOMAIN", "REQ/S", "2xx", "3xx", "4xx", "5xx", "P50", "P99", "OUT/S", "IN/S"],
        ["b.test", "25.0", "0", "0", "50", "0", "-", "-", "0B", "0B"],
        ["a.test", "15.0", "20", "0", "0", "10", "10ms", "98ms", "2.0kB", "6B"],
    ]


def test_path_rules_are_rows_of_their_own() -> None:
    assert list(parse(AFTER, by_path=True)) == ["a.test/", "a.test/x", "b.test/"]


@pytest.mark.parametrize(("share", "seconds"), [(0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (1.0, 2.0)])
def test_quantiles_are_linear_inside_a_bucket(share: float, seconds: float) -> None:
    assert Counts({}, {1.0: 10, 2.0: 20, float("inf"): 20}).quantile_seconds(share) == pytest.approx(seconds)


def test_beyond_the_last_bound_is_the_last_bound() -> None:
    assert Counts({}, {1.0: 0, float("inf"): 5}).quantile_seconds(0.5) == 1.0


def test_top_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = argparse.Namespace(state_dir=tmp_path, interval=0.01, rows=5, paths=False, once=True)
    assert top(arguments) == 1
    assert "is the cluster up?" in capsys.readouterr().err


def test_lint_ends_with_1_when_something_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    name = "nginx.ingress.kubernetes.io/proxy-body-size"
    for value, code in (("8m", 0), ("much", 1)):
        path.write_text(f"kind: Ingress\nmetadata:\n  name: x\n  annotations:\n    {name}: {value}\n")
        assert main(["edge", "lint", str(path)]) == code
        assert f"{path}:5" in capsys.readouterr().out
    assert main(["edge", "lint", str(tmp_path / "none.yaml")]) == 1


def test_explain_without_a_cluster_says_what_to_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["edge", "explain", "a.test", "--state-dir", str(tmp_path)]) == 1
    assert "--kubeconfig" in capsys.readouterr().err


def test_run_edge_keeps_everything_below_its_state_directory(tmp_path: Path) -> None:
    arguments = argparse.Namespace(
        state_dir=tmp_path, http="127.0.0.1:1", https="", status_address=["192.0.2.1"], haproxy=None, lease=""
    )
    made = config(arguments)
    assert (made.http_address, made.https_address, made.status_addresses) == ("127.0.0.1:1", "", ("192.0.2.1",))
    paths = (made.run_dir, made.state_dir, made.access_log, made.metrics_socket)
    assert all(path is not None and path.is_relative_to(tmp_path) for path in paths)
