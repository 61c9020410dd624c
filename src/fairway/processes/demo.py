"""`fairway demo`: a cluster, the examples on it, and the URLs that now work."""

import argparse
import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import yaml

from fairway.certificates import authority
from fairway.cli import images, terminal
from fairway.kube.api import ingresses, noun
from fairway.kube.api.resource import INGRESSES, KINDS, Resource
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient, Raw
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.processes import demo_delivery, instance, probe_url, up
from fairway.processes.demo_delivery import DeliveryFailed
from fairway.processes.instance import Settings

_BASES = ("nginx", "python", "busybox")
_READY_SECONDS = 60.0
_MANAGER = "fairway-demo"


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


def run(arguments: argparse.Namespace) -> int:
    """Run the demo until Ctrl-C, or once; returns the exit code."""
    try:
        settings = up.settings_from(arguments)
        manifests = _read(arguments.examples)
        _build_bases(settings)
        return _with_cluster(settings, manifests, once=arguments.once)
    except (DemoFailed, DeliveryFailed, ValueError) as error:
        terminal.fail(f"fairway demo: {error}")
        return 1


def _read(folder: Path) -> list[Raw]:
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise DemoFailed(f"{folder}: there are no .yaml files; name the folder with --examples DIR")
    documents: list[Raw] = []
    for file in files:
        try:
            documents += [document for document in yaml.safe_load_all(file.read_text()) if document]
        except yaml.YAMLError as error:
            raise DemoFailed(f"{file}: {error}") from error
    return documents


def _build_bases(settings: Settings) -> None:
    """Base images come from Debian packages, never from a public image registry."""
    for base in _BASES:
        parser = argparse.ArgumentParser()
        images.add_parser(parser.add_subparsers())
        if code := images.run(parser.parse_args(["image", "build", "--base", base, "--state-dir", settings.state_dir])):
            raise DemoFailed(f"the base image {base} could not be built (exit {code})")


def _with_cluster(settings: Settings, manifests: list[Raw], *, once: bool) -> int:
    command = [sys.executable, "-m", "fairway.processes.main", "up", "--state-dir", settings.state_dir]
    addresses = ["--http", str(settings.http), "--https", str(settings.https), "--api", str(settings.api)]
    if settings.load_balancer_addresses is not None:
        addresses += ["--load-balancer-addresses", ",".join(settings.load_balancer_addresses) or "none"]
    rest = ["--egress", settings.egress, "--platform-domain", settings.platform_domain]
    cluster = subprocess.Popen([*command, *addresses, *rest])
    code = 1
    try:
        _wait_ready(cluster, settings)
        code = _show(settings, manifests)
        if not once:
            print(f"  {terminal.paint('Ctrl-C', 'bold')} ends it; nothing is left behind.", flush=True)
            cluster.wait()
    except KeyboardInterrupt:
        code = 0  # the terminal sent it to the cluster too
    finally:
        code = _end(cluster) or code
    return code


def _wait_ready(cluster: "subprocess.Popen[bytes]", settings: Settings) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while not ((running := instance.read(settings.path)) and running.ready):
        if cluster.poll() is not None:
            raise DemoFailed("the cluster did not start")
        if time.monotonic() > deadline:
            raise DemoFailed(f"the cluster was not ready after {_READY_SECONDS:.0f} s; see {settings.log_file}")
        time.sleep(0.02)


def _end(cluster: "subprocess.Popen[bytes]") -> int:
    if cluster.poll() is None:
        cluster.send_signal(signal.SIGTERM)
    while True:
        try:
            return cluster.wait()
        except KeyboardInterrupt:
            continue  # impatience does not leave a half-stopped cluster behind


def _show(settings: Settings, manifests: list[Raw]) -> int:
    checks, failed = asyncio.run(_examples(settings, manifests))
    pushed = demo_delivery.show(settings)
    print(_page(checks, pushed, settings), flush=True)
    for check in failed:
        terminal.fail(f"{check.url}: {check.problem}")
    return 1 if failed else 0


async def _examples(settings: Settings, manifests: list[Raw]) -> "tuple[list[_Check], list[_Check]]":
    """Apply them and ask every address; all of them, and those that did not answer."""
    client = kubeconfig.connect(kubeconfig.load(settings.kubeconfig))
    try:
        for manifest in manifests:
            await _apply(client, manifest)
        terminal.ok(f"{len(manifests)} objects applied")
        checks = _checks(manifests, settings)
        return checks, await _probe_all(checks, _root(settings))
    except (ApiError, Unreachable) as error:
        raise DemoFailed(str(error)) from error


async def _apply(client: ApiClient, manifest: Raw) -> None:
    resource = _resource(manifest)
    metadata = manifest.setdefault("metadata", {})
    if resource.namespaced:
        metadata.setdefault("namespace", "default")
    await client.apply(resource, manifest, field_manager=_MANAGER)


def _resource(manifest: Raw) -> Resource:
    try:
        return KINDS[manifest["apiVersion"], manifest["kind"]]
    except KeyError:
        what = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
        raise DemoFailed(f"{what}: the demo applies only {', '.join(kind for _, kind in sorted(KINDS))}") from None


def _ingresses(manifests: list[Raw]) -> list[ingresses.Ingress]:
    return [noun.decode(ingresses.Ingress, raw) for raw in manifests if raw.get("kind") == INGRESSES.kind]


def _root(settings: Settings) -> Path:
    """The root that signed the sites' certificates."""
    return authority.paths(settings.path / "pki").certificate


class _Check(msgspec.Struct):
    """One URL that must answer."""

    url: str
    curl: str
    scheme: str
    host: str
    path: str
    address: instance.Address
    problem: str = "not asked yet"


def _checks(manifests: list[Raw], settings: Settings) -> list[_Check]:
    found = []
    ca = _root(settings)
    for ingress in _ingresses(manifests):
        secure = {host for tls in ingress.spec.tls for host in tls.hosts}
        for rule in ingress.spec.rules:
            for path in rule.http.paths if rule.http else ():
                found.append(_check(rule.host, path.path, rule.host in secure, settings, ca))
    return found


def _check(host: str, path: str, secure: bool, settings: Settings, ca: Path) -> _Check:
    scheme, address = ("https", settings.https) if secure else ("http", settings.http)
    url = f"{scheme}://{host}:{address.port}{path}"
    trust = f"--cacert {ca} " if secure else ""
    curl = f"curl {trust}--resolve {host}:{address.port}:{address.reachable_host} {url}"
    return _Check(url, curl, scheme, host, path, address)


async def _probe_all(checks: list[_Check], ca: Path) -> list[_Check]:
    began = time.monotonic()
    for check in checks:
        while True:
            check.problem = await asyncio.to_thread(
                probe_url.problem, check.scheme, check.address, check.host, check.path, ca
            )
            if not check.problem or time.monotonic() - began > _READY_SECONDS:
                break
            await asyncio.sleep(0.05)
        if not check.problem:
            seconds = time.monotonic() - began
            terminal.ok(f"{check.url} answers 200 {terminal.paint(f'({seconds:.2f} s)', 'dim')}")
    return [check for check in checks if check.problem]


def _page(checks: list[_Check], pushed: str, settings: Settings) -> str:
    site = demo_delivery.folder(settings)
    lines = ["", terminal.paint("  Paste any of these:", "bold"), ""]
    lines += [f"  {terminal.paint(f'cd {site} && git push fairway main', 'cyan')}   # after a commit: {pushed}"]
    lines += [f"  {terminal.paint(check.curl, 'cyan')}" for check in checks]
    lines += ["", f"  kubectl --kubeconfig {settings.kubeconfig} get deployments,pods,services,ingresses", ""]
    return "\n".join(lines)
