"""Where an image goes: its repository, its tag, and who may push there."""

import msgspec

from fairway.toolkit.oci.authentication import Login
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse

SHARED = "shared"
"""Repositories of the platform's own registry that everybody may build from begin so."""


class Built(msgspec.Struct, frozen=True):
    """An image that can run: repository@digest, the port it listens on (0: not known) and who it runs as.

    `user` is `uid` or `uid:gid`; empty when it is root, or a name, which Kubernetes cannot tell from root.
    """

    image: str
    port: int
    user: str = ""


class Target(msgspec.Struct, frozen=True):
    """A repository (`registry.example.com/team/shop`), a tag, and whether the image must be pushed there.

    Without `push` the image lives in the node's own store, where the kubelet finds it at once.
    """

    repository: str
    tag: str
    push: bool = False
    login: Login | None = None

    def reference(self) -> Reference:
        """Raises InvalidReference."""
        found = parse(f"{self.repository}:{self.tag}")
        if found.registry == "docker.io" and not self.repository.startswith("docker.io/"):
            raise InvalidReference(
                f"repository {self.repository!r} names no registry; write registry.example.com/{self.repository}"
            )
        return found


class BuildError(Exception):
    """An image that cannot be made or stored; the message is for the person whose commit it is."""


def own_repository(registry: str, namespace: str, app: str) -> str:
    """The repository of an App in the platform's own registry, which removes from it what no Release needs."""
    return f"{registry}/{namespace}/{app}"


def refusal(image: Reference, own_names: frozenset[str], namespace: str) -> str:
    """Why an App of a namespace may not build from an image; "" when it may.

    In the platform's own registry a repository begins with the namespace it belongs to, and everybody may use
    `shared/`. Without this, whoever can push could read the images of all others: they are on the node already.
    """
    owner = image.repository.partition("/")[0]
    if image.registry not in own_names or owner in (namespace, SHARED):
        return ""
    return f"{image} belongs to {owner}; an App of {namespace} builds from its own images and those below {SHARED}/"
