"""`fairway status`: where an instance listens, what runs on it, which domains it serves."""

import asyncio
from pathlib import Path

from fairway.cli import terminal
from fairway.kube.api import ingresses, noun, pods, workloads
from fairway.kube.api.resource import DEPLOYMENTS, INGRESSES, NODES, PODS
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.processes import instance
from fairway.processes.instance import Settings
from fairway.processes.up import summary


def run(state_dir: Path) -> int:
    """Show it; returns 0 when the API answers, 1 when not, 3 when nothing runs."""
    running = instance.read(state_dir)
    if running is None:
        terminal.warn(f"nothing runs with {state_dir}; `fairway up --state-dir {state_dir}` starts it")
        return 3
    print(summary(running.settings))
    print(f"  {terminal.paint('egress'.ljust(11), 'dim')}{running.egress}\n")
    try:
        print(asyncio.run(_objects(running.settings)))
    except (ApiError, Unreachable, kubeconfig.KubeconfigError, OSError) as error:
        terminal.fail(f"the API does not answer: {error}; see {running.settings.log_file}")
        return 1
    return 0


async def _objects(settings: Settings) -> str:
    client = kubeconfig.connect(kubeconfig.load(settings.kubeconfig))
    nodes = await client.list(NODES)
    parts = [f"  {len(nodes.items)} node · {await _pod_count(client)}"]
    deployments = [noun.decode(workloads.Deployment, raw) for raw in (await client.list(DEPLOYMENTS)).items]
    if deployments:
        parts.append(terminal.table(("DEPLOYMENT", "READY"), [_deployment_row(item) for item in deployments]))
    domains = [noun.decode(ingresses.Ingress, raw) for raw in (await client.list(INGRESSES)).items]
    if rows := [row for item in domains for row in _domain_rows(item, settings)]:
        parts.append(terminal.table(("DOMAIN", "PATH", "SERVICE", "URL"), rows))
    return "\n\n".join(parts)


async def _pod_count(client: ApiClient) -> str:
    found = [noun.decode(pods.Pod, raw) for raw in (await client.list(PODS)).items]
    ready = sum(pod.ready for pod in found)
    return f"{ready} of {len(found)} pods ready"


def _deployment_row(deployment: workloads.Deployment) -> tuple[str, str]:
    return str(deployment.metadata.key), f"{deployment.status.ready_replicas}/{deployment.spec.replicas}"


def _domain_rows(ingress: ingresses.Ingress, settings: Settings) -> list[tuple[str, str, str, str]]:
    secure = {host for tls in ingress.spec.tls for host in tls.hosts}
    rows = []
    for rule in ingress.spec.rules:
        for path in rule.http.paths if rule.http else ():
            service = path.backend.service.name if path.backend.service else "-"
            scheme, address = ("https", settings.https) if rule.host in secure else ("http", settings.http)
            port = "" if address.port in (80, 443) else f":{address.port}"
            url = f"{scheme}://{rule.host or address.reachable_host}{port}{path.path}"
            rows.append((rule.host or "*", path.path or "/", f"{ingress.metadata.namespace}/{service}", url))
    return rows
