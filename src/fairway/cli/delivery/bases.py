"""The base images that apps are built on and with: made on this machine when they are not there yet."""

import argparse
import asyncio

from fairway.cli import images
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.toolkit.oci.bases import RECIPES
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore

_NEEDED = ("nginx", "python")
"""What serves static sites, and what carries files into and out of the pods of pipelines."""


async def ensure(cluster: Cluster) -> None:
    """Assemble what is missing, from Debian packages; of other clusters nothing is known. Raises Mistake, OSError."""
    folder = cluster.state_dir / "images"
    if not cluster.kubeconfig.is_relative_to(cluster.state_dir) or not folder.is_dir():
        return
    store = ImageStore(folder)
    for base in _NEEDED:
        if store.find(parse(RECIPES[base].tags[0])) is None:
            await asyncio.to_thread(_assemble, base, str(cluster.state_dir))


def _assemble(base: str, state_dir: str) -> None:
    parser = argparse.ArgumentParser()
    images.add_parser(parser.add_subparsers())
    if images.run(parser.parse_args(["image", "build", "--base", base, "--state-dir", state_dir])):
        raise Mistake(f"the base image {base} could not be made; try: fairway image build --base {base}")
