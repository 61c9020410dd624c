"""Manifests in, nftables script out: NAME.in.yaml → NAME.out.nft; and what files show badly."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fairway.engine.serviceproxy.policies import render
from fairway.engine.serviceproxy.policies.ir import Direction
from fairway.engine.serviceproxy.policies.plan import AddChain, NoChange, plan
from fairway.engine.serviceproxy.policies.snapshot import Snapshot, member, take
from fairway.engine.serviceproxy.policies.translate import Translation, directions, translate
from fairway.kube.api.config import Namespace
from fairway.kube.api.networkpolicies import NetworkPolicy
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod

GOLDEN = Path(__file__).parents[2] / "golden" / "policies"
PATHS = sorted(GOLDEN.glob("*.in.yaml"))


def snapshot(path: Path, *leave_out: str) -> Snapshot:
    raws = [raw for raw in yaml.safe_load_all(path.read_text()) if raw["metadata"]["name"] not in leave_out]
    of = {kind: [raw for raw in raws if raw["kind"] == kind] for kind in ("Pod", "Namespace", "NetworkPolicy")}
    pods = [decode(Pod, raw) for raw in of["Pod"]]
    return take(
        [decode(NetworkPolicy, raw) for raw in of["NetworkPolicy"]],
        {pod.metadata.key: facts for pod in pods if (facts := member(pod))},
        [decode(Namespace, raw) for raw in of["Namespace"]],
    )


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name.partition(".")[0])
def test_golden(path: Path, request: pytest.FixtureRequest) -> None:
    changes = plan(translate(Snapshot()).ruleset.wanted, translate(snapshot(path)).ruleset)
    assert not isinstance(changes, NoChange)
    text = render.apply("t", "10.42.0.1", changes)
    out = path.with_name(path.name.replace(".in.yaml", ".out.nft"))
    if request.config.getoption("--update-golden"):
        out.write_text(text)
    assert text == out.read_text()


def test_golden_frame(request: pytest.FixtureRequest) -> None:
    text = render.load("t", "10.42.0.1", Translation().ruleset)
    out = GOLDEN / "frame.out.nft"
    if request.config.getoption("--update-golden"):
        out.write_text(text)
    assert text == out.read_text()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, (Direction.INGRESS,)),
        ({"egress": [{}]}, (Direction.INGRESS, Direction.EGRESS)),
        ({"policyTypes": ["Egress"]}, (Direction.EGRESS,)),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, (Direction.INGRESS,)),
    ],
)
def test_what_a_policy_isolates(spec: dict[str, Any], expected: tuple[Direction, ...]) -> None:
    assert directions(decode(NetworkPolicy, {"metadata": {"name": "x"}, "spec": spec})) == expected


def test_the_translation_before_changes_nothing_but_the_work() -> None:
    for path in PATHS:
        full, less = snapshot(path), snapshot(path, "web", "names", "kube-system")
        for first, second in ((less, full), (full, less), (Snapshot(), full)):
            assert translate(second, translate(first)).ruleset == translate(second).ruleset


def test_equal_policies_share_their_rules_and_pods_of_equal_policies_their_chain() -> None:
    full, less = (snapshot(GOLDEN / "egress.in.yaml", *out) for out in ((), ("names-again",)))
    changes = plan(translate(less).ruleset.wanted, translate(full).ruleset)
    assert isinstance(changes, NoChange), "a second policy with the same rules is no news to the kernel"


def test_a_new_pod_is_a_few_elements() -> None:
    full, less = (snapshot(GOLDEN / "peers.in.yaml", *out) for out in ((), ("db",)))
    changes = plan(translate(less).ruleset.wanted, translate(full).ruleset)
    assert not isinstance(changes, NoChange)
    assert not any(isinstance(change, AddChain) for change in changes)
    assert all(line.startswith("add element") for line in render.apply("t", "10.42.0.1", changes).splitlines())
