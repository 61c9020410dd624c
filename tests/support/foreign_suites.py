"""How other people's suites and programs are run against a server, for the conformance tests."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from live_api import Live

HERE = Path(__file__).parent.parent / "conformance"
_SECONDS = 800
PYTEST = ("-m", "pytest", "-q", "-o", "addopts=", "-p", "no:cacheprovider", "-W", "ignore", "--tb=short")
SUITES: dict[str, tuple[Sequence[str], *tuple[str, ...]]] = {
    "kubernetes": (["kubernetes/dynamic"],),
    "kr8s": (
        ["kr8s/tests/test_api.py", "kr8s/tests/test_objects.py", "kr8s/tests/test_auth.py"],
        "--timeout=120",
        "--override-ini=asyncio_mode=auto",
        "-ppytest_kind.plugin",
        "--keep-cluster",
    ),
    "kopf": (["tests/e2e", "examples"], "--only-e2e", "--timeout=180"),
}

# Of kr8s; these run against a real cluster, in test_conformance_containers.py.
CONTAINER_TESTS = tuple(
    f"kr8s/tests/test_objects.py::{name}"
    for name in (
        "test_pod_logs",
        "test_pod_exec",
        "test_pod_exec_timeout",
        "test_pod_exec_error",
        "test_pod_exec_to_file",
        "test_pod_exec_not_ready",
        "test_service_exec",
        "test_adoption",
        "test_pod_port_forward_context_manager",
        "test_pod_port_forward_context_manager_sync",
        "test_pod_port_forward_start_stop",
        "test_service_port_forward_context_manager",
        "test_service_port_forward_start_stop",
        "test_multiple_bind_addresses_port_forward",
    )
)


def environment(live: Live, **more: str) -> dict[str, str]:
    """What a program needs to find the server; its home is the server's folder."""
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "KUBE"))},
        "KUBECONFIG": str(live.kubeconfig),
        "KUBECONFIG_LIVE": str(live.kubeconfig),
        "HOME": str(live.folder),
        "PYTHONPATH": str(HERE / "shims"),
        **more,
    }


def passes(live: Live, command: Sequence[str | Path], folder: Path, **more: str) -> str:
    """Run a program to its end; its output is the failure's message."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=environment(live, **more),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    return done.stdout
