"""Who can push must not read the images of others that way."""

from pathlib import Path

import pytest

from fairway.delivery.builds.images import DockerfileOrder, Images
from fairway.delivery.builds.target import BuildError, Target, refusal
from fairway.delivery.config import Config
from fairway.delivery.pipelines.ir import Job, Pipeline, Problem, Service
from fairway.delivery.pipelines.source import foreign_image
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.oci.reference import parse

OWN = frozenset(("registry.fairway.local", "10.96.0.20"))


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("registry.fairway.local/team-a/shop:1", True),
        ("registry.fairway.local/shared/base:1", True),
        ("registry.fairway.local/team-b/shop:1", False),
        ("10.96.0.20/team-b/shop@sha256:" + "a" * 64, False),
        ("registry.fairway.local/team-abc/shop:1", False),
        ("nginx:latest", True),
        ("registry.example.com/team-b/shop:1", True),
    ],
)
def test_only_the_own_namespace_and_what_is_shared(image: str, allowed: bool) -> None:
    assert (refusal(parse(image), OWN, "team-a") == "") is allowed


async def test_a_dockerfile_cannot_begin_with_another_teams_image(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "Dockerfile").write_text("FROM registry.fairway.local/team-b/shop:1\nCOPY . /x\n")
    images = Images(tmp_path / "images", is_node_store=True, own_names=OWN)
    target = Target("registry.fairway.local/team-a/thief", "1")
    with pytest.raises(BuildError, match="belongs to team-b"):
        order = DockerfileOrder(ObjectKey("team-a", "thief"), folder, "", "Dockerfile")
        await images.dockerfile_image(order, target, print)
    with pytest.raises(BuildError, match="belongs to team-b"):
        await images.resolve("registry.fairway.local/team-b/shop:1", namespace="team-a")


@pytest.mark.parametrize(
    "job",
    [
        Job(name="steal", stage="build", image="10.96.0.20/team-b/shop:1"),
        Job(name="steal", stage="build", image="node:18", services=(Service("registry.fairway.local/team-b/db:1"),)),
    ],
)
def test_nor_can_a_job_or_what_runs_beside_it(tmp_path: Path, job: Job) -> None:
    config = Config(tmp_path, registry_names=("10.96.0.20",))
    found = foreign_image(config, Pipeline("file", "", (job,)), "team-a")
    assert isinstance(found, Problem) and "belongs to team-b" in str(found) and found.field == "steal.image"
