"""The arguments of `fairway run delivery`."""

import argparse
from collections.abc import Callable
from pathlib import Path

PRIVATE_NETWORKS = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
"""RFC 1918 and RFC 6598: where pods, Services and nodes of most clusters are."""


def add_parser(
    parts: "argparse._SubParsersAction[argparse.ArgumentParser]",
    default_state_dir: Path,
    run: Callable[[argparse.Namespace], int],
) -> None:
    """Add the part `delivery`; what it does is given, because it needs the room itself."""
    parser = parts.add_parser(
        "delivery",
        help="Apps: from git push to the live version, for the cluster of a kubeconfig",
        description="Look after the Apps of a cluster until interrupted. One of these for each cluster, no more.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE")
    parser.add_argument("--context", default="", help="default: the current one")
    parser.add_argument("--state-dir", type=Path, default=default_state_dir / "run-delivery", metavar="DIR")
    _add_endpoint(parser)
    _add_registry(parser)
    _add_builds(parser)
    parser.add_argument(
        "--with-certificates", action="store_true", help="also make the certificates of Ingresses, by an own authority"
    )
    parser.set_defaults(run=run)


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="0.0.0.0:8900", metavar="ADDR:PORT", help="default 0.0.0.0:8900")
    parser.add_argument(
        "--advertise-address",
        default="",
        metavar="ADDR",
        help="the IPv4 address at which pods and the ingress controller reach --listen; default: that of --listen",
    )
    parser.add_argument(
        "--public-url", required=True, metavar="URL", help="where people push: https://git.example.com, by an Ingress"
    )
    parser.add_argument(
        "--sites-port", type=int, default=443, metavar="PORT", help="of sites in the addresses shown; default 443"
    )


def _add_registry(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--registry", required=True, metavar="HOST/PREFIX", help="where images are pushed; nodes pull from there"
    )
    parser.add_argument(
        "--registry-credentials", type=Path, metavar="FILE", help="logins for it, as in Docker's config.json"
    )
    parser.add_argument("--registry-ca", type=Path, metavar="FILE", help="who signed its certificate; default: public")
    parser.add_argument("--site-base", default="nginx:latest", metavar="IMAGE", help="what serves static sites")


def _add_builds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--allow-forge",
        action="append",
        default=[],
        metavar="HOST",
        help="a forge that may be asked although its address is this machine's or the cluster's; may repeat",
    )
    parser.add_argument(
        "--max-push-size", default="512Mi", metavar="SIZE", help="how large a git push may be; default 512Mi"
    )
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="how many builds work at once; default 1")
    parser.add_argument(
        "--toolbox-image", default="python:3-slim", metavar="IMAGE", help="with Python 3.10 or newer, for build pods"
    )
    parser.add_argument(
        "--cluster-network",
        action="append",
        default=[],
        metavar="CIDR",
        help="what builds may not reach; may repeat; default: all private networks",
    )
    parser.add_argument(
        "--dns-address",
        action="append",
        default=[],
        metavar="ADDR",
        help="of a name server that builds may ask besides the cluster's; may repeat",
    )
