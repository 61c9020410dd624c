"""Images that the documents' pipeline names, as far as it needs them; tests reach no registry of the internet."""

from pathlib import Path

import cluster

from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore

# A stand-in for Node.js: it does what the documents' commands say, and nothing else.
NPM = b"""#!/bin/sh
[ "$1 $2" = "run build" ] && mkdir -p dist && echo "<h1>$(cat version 2>/dev/null || echo built)</h1>" > dist/index.html
exit 0
"""


def stand_ins(images: Path) -> None:
    """node:18-alpine and bitnami/kubectl (the real kubectl of this machine) on the busybox base that is there."""
    store = ImageStore(images)
    name = store.find(parse("busybox:latest"))
    assert name is not None
    node = Draft(store, store.load(name))
    node.add([Entry("usr/bin/npm", data=NPM)], "npm")
    node.commit(parse("node:18-alpine"))
    program = Path(list(cluster.kubectls().values())[-1])
    kubectl = Draft(store, store.load(name))
    kubectl.add([Entry("usr/bin/kubectl", source=lambda: program.open("rb"))], "kubectl")
    kubectl.note("run", user="1001", entrypoint=("kubectl",), cmd=("--help",))
    kubectl.commit(parse("bitnami/kubectl"))
