"""The settings of the room."""

from datetime import timedelta
from pathlib import Path

import msgspec

NAMESPACE = "fairway-system"


class Config(msgspec.Struct, frozen=True):
    """Who signs, for how long, and for whose Ingresses.

    `authority_dir` holds (or gets) `web-ca.crt` and `web-ca.key`; None keeps them in the Secret
    `authority_namespace`/fairway-web-ca, for clusters of somebody else. A certificate is made anew after two thirds of
    `lifetime`. Ingresses count when their class belongs to one of `controllers` or they name one of `class_names` in
    the old annotation. Without `cluster_issuers` an Ingress that asks cert-manager for its certificate is left to it:
    for clusters where cert-manager runs.
    """

    authority_dir: Path | None = None
    authority_namespace: str = NAMESPACE
    lifetime: timedelta = timedelta(days=90)
    controllers: tuple[str, ...] = ("fairway.dev/ingress", "k8s.io/ingress-nginx")
    class_names: tuple[str, ...] = ("fairway", "nginx")
    cluster_issuers: bool = True
