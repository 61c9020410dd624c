"""The kubelet's loop against a real API server, with containers, images and network in memory."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubelet_world import SECONDS, World, api, condition, container, ready, restarts, waiting

from fairway.engine.kubelet.runtime.errors import ExecFailed
from fairway.engine.kubelet.runtime.model import ContainerSpec, ContainerState, ExecResult
from fairway.kube.api.resource import CONFIG_MAPS, LEASES, NODES, PODS, SECRETS
from fairway.kube.client.client import PatchType
from fairway.kube.client.errors import NotFound
from fairway.toolkit.http_client import HttpClient, unix_connector


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api(tmp_path) as client:
        yield World(client, tmp_path)


async def test_a_pod_runs_and_says_so(world: World) -> None:
    async with world.kubelet():
        await world.create()
        pod = await world.until(ready)
        status = pod["status"]
        assert status["phase"] == "Running"
        assert status["podIP"] == "127.0.1.1" and status["podIPs"] == [{"ip": "127.0.1.1"}]
        assert status["hostIP"] == "10.42.0.1" and status["qosClass"] == "BestEffort"
        assert {each["type"]: each["status"] for each in status["conditions"]} == dict.fromkeys(
            ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"), "True"
        )
        assert container(pod)["containerID"] == f"fairway://{world.only()}"
        assert container(pod)["started"] is True and container(pod)["restartCount"] == 0
        await world.until_event("Normal Started: Started container app")
        said = {event.split(":")[0] for event in await world.events()}
        assert said >= {"Normal Pulling", "Normal Pulled", "Normal Created", "Normal Started"}


async def test_the_node_registers_and_renews_its_lease(world: World) -> None:
    async with world.kubelet():
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    node = await world.client.get(NODES, "fairway")
                    lease = await world.client.get(LEASES, "fairway", "kube-node-lease")
                    if node["status"].get("conditions"):
                        break
                except NotFound:
                    pass
                await asyncio.sleep(0.02)
    assert lease["spec"]["holderIdentity"] == "fairway"
    assert {each["type"]: each["status"] for each in node["status"]["conditions"]}["Ready"] == "True"
    assert {"type": "InternalIP", "address": "10.42.0.1"} in node["status"]["addresses"]


async def test_a_container_that_ends_restarts_at_once_and_then_backs_off(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
        world.runtime.exit(world.only(), 3)
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        assert container(pod)["lastState"]["terminated"]["exitCode"] == 3
        assert container(pod)["lastState"]["terminated"]["reason"] == "Error"
        world.runtime.exit(world.only(), 3)
        pod = await world.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
        uid = pod["metadata"]["uid"]
        message = f"back-off 10s restarting failed container=app pod=web_default({uid})"
        assert container(pod)["state"]["waiting"]["message"] == message
        assert pod["status"]["phase"] == "Running" and not ready(pod)
        await world.until_event("Warning BackOff: Back-off restarting failed container app in pod web_default")


async def test_a_pod_that_never_restarts_fails_or_succeeds(world: World) -> None:
    async with world.kubelet():
        await world.create("good", restartPolicy="Never")
        await world.until(ready, "good")
        world.runtime.exit(world.only(), 0)
        pod = await world.until(lambda pod: pod["status"]["phase"] == "Succeeded", "good")
        assert container(pod)["state"]["terminated"]["reason"] == "Completed"
        await world.create("bad", restartPolicy="Never")
        await world.until(ready, "bad")
        world.runtime.exit(world.only(), 1)
        await world.until(lambda pod: pod["status"]["phase"] == "Failed", "bad")
        async with asyncio.timeout(SECONDS):
            while world.runtime.sandboxes:
                await asyncio.sleep(0.01)


async def test_init_containers_run_one_after_another(world: World) -> None:
    inits = [{"name": "one", "image": "one"}, {"name": "two", "image": "two"}]
    async with world.kubelet():
        await world.create(initContainers=inits)
        pod = await world.until(lambda pod: "running" in container(pod, "one")["state"])
        assert waiting(pod) == waiting(pod, "two") == "PodInitializing"
        assert condition(pod, "Initialized") == "False" and pod["status"]["phase"] == "Pending"
        world.runtime.exit(world.only("one"), 0)
        await world.until(lambda pod: "running" in container(pod, "two")["state"])
        assert not world.runtime.running("app")
        world.runtime.exit(world.only("two"), 0)
        pod = await world.until(ready)
        assert container(pod, "one")["ready"] is True


async def test_a_deleted_pod_serves_until_it_is_out_of_rotation(world: World) -> None:
    async with world.kubelet():
        await world.create()
        pod = await world.until(ready)
        await world.publish(pod, ready=True)
        await asyncio.sleep(0.1)
        await world.client.delete(PODS, "web", namespace="default", grace_period_seconds=20)
        await world.until(lambda pod: "deletionTimestamp" in pod["metadata"])
        await asyncio.sleep(0.3)
        assert world.runtime.signals == []
        assert ready(await world.pod())
        await world.publish(pod, ready=False, terminating=True)
        await world.until_gone()
        assert [number for _, number in world.runtime.signals] == [signal.SIGTERM]
        async with asyncio.timeout(SECONDS):
            while list((world.config.state_dir / "pods").glob("*")):
                await asyncio.sleep(0.01)
    assert not world.runtime.states and not world.runtime.sandboxes and not world.network.attached


async def test_pre_stop_comes_before_the_signal_and_grace_before_the_kill(world: World) -> None:
    order: list[str] = []

    def hook(id: str, args: tuple[str, ...]) -> ExecResult:
        order.append(args[0])
        return ExecResult(exit_code=0, stdout=b"", stderr=b"")

    world.runtime.on_exec = hook
    world.runtime.on_signal = lambda _, number: order.append(signal.Signals(number).name)
    world.runtime.stubborn = {"app"}
    spec = {"name": "app", "image": "app", "lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}}
    async with world.kubelet():
        await world.create(containers=[spec])
        await world.until(ready)
        await world.client.delete(PODS, "web", namespace="default", grace_period_seconds=1)
        await world.until_gone()
    assert order == ["drain", "SIGTERM", "SIGKILL"]


async def test_a_failing_liveness_probe_restarts_the_container(world: World) -> None:
    healthy = True

    def probe(id: str, args: tuple[str, ...]) -> ExecResult:
        return ExecResult(exit_code=0 if healthy else 1, stdout=b"", stderr=b"broken")

    world.runtime.on_exec = probe
    liveness = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": "app", "livenessProbe": liveness}])
        await world.until(ready)
        healthy = False
        await world.until_event("Warning Unhealthy: Liveness probe failed: broken")
        await world.until_event("Normal Killing: Container app failed liveness probe, will be restarted")
        healthy = True
        await world.until(lambda pod: restarts(pod) >= 1)  # twice, if it was found broken once more meanwhile


async def test_readiness_follows_the_probe(world: World) -> None:
    healthy = False

    def probe(id: str, args: tuple[str, ...]) -> ExecResult:
        return ExecResult(exit_code=0 if healthy else 1, stdout=b"not yet", stderr=b"")

    world.runtime.on_exec = probe
    readiness = {"exec": {"command": ["check"]}, "periodSeconds": 1, "failureThreshold": 1}
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": "app", "readinessProbe": readiness}])
        pod = await world.until(lambda pod: "running" in container(pod)["state"])
        assert not ready(pod)
        await world.until_event("Warning Unhealthy: Readiness probe failed: not yet")
        healthy = True
        await world.until(ready)
        healthy = False
        pod = await world.until(lambda pod: not ready(pod))
        assert restarts(pod) == 0


async def test_a_missing_image_is_shown_as_upstream_shows_it(world: World) -> None:
    world.images.missing = {"app"}
    async with world.kubelet():
        await world.create()
        pod = await world.until(lambda pod: waiting(pod) == "ErrImagePull")
        assert container(pod)["state"]["waiting"]["message"] == 'failed to resolve reference "app": not found'
        assert pod["status"]["phase"] == "Pending"
        pod = await world.until(lambda pod: waiting(pod) == "ImagePullBackOff")
        expected = 'Back-off pulling image "app": ErrImagePull: failed to resolve reference "app": not found'
        assert container(pod)["state"]["waiting"]["message"] == expected
        for text in ("Failed: Failed to pull image", "Failed: Error: ErrImagePull", "BackOff: Back-off pulling image"):
            await world.until_event(text)


async def test_what_cannot_start_is_explained(world: World) -> None:
    spec = {
        "name": "app",
        "image": "app",
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
    }
    async with world.kubelet():
        await world.create(containers=[spec])
        pod = await world.until(lambda pod: waiting(pod) == "CreateContainerConfigError")
        assert container(pod)["state"]["waiting"]["message"] == 'configmap "c" not found'
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "default"}}
        await world.client.create(CONFIG_MAPS, {**body, "data": {"k": "v"}})
        await world.until(ready)
        assert dict(world.runtime.specs[world.only()].env)["A"] == "v"


async def test_a_program_that_cannot_run_is_a_start_error(world: World) -> None:
    world.runtime.unrunnable = {"app": 'exec: "app": executable file not found in $PATH'}
    async with world.kubelet():
        await world.create()
        pod = await world.until(lambda pod: waiting(pod) == "CrashLoopBackOff")
        terminated = container(pod)["lastState"]["terminated"]
        assert (terminated["exitCode"], terminated["reason"]) == (128, "StartError")
        await world.until_event("executable file not found")


async def test_a_missing_secret_holds_the_pod_back_until_it_comes(world: World) -> None:
    mounts = [{"name": "tls", "mountPath": "/tls"}]
    volumes = [{"name": "tls", "secret": {"secretName": "tls"}}]
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": "app", "volumeMounts": mounts}], volumes=volumes)
        await world.until_event('FailedMount: MountVolume.SetUp failed for volume "tls" : secret "tls" not found')
        assert waiting(await world.pod()) == "ContainerCreating"
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls", "namespace": "default"}}
        await world.client.create(SECRETS, {**secret, "data": {"key": "c2VjcmV0"}})
        await world.until(ready)
        (mount,) = (each for each in world.runtime.specs[world.only()].mounts if each.target == "/tls")
        file = Path(mount.source) / "key"
        assert mount.read_only and file.read_text() == "secret"
        await world.client.patch(SECRETS, "tls", {"data": {"key": "bmV3"}}, namespace="default")
        async with asyncio.timeout(SECONDS):
            while file.read_text() != "new":
                await asyncio.sleep(0.01)


async def test_a_killed_engine_finds_everything_again(world: World) -> None:
    readiness = {"exec": {"command": ["check"]}, "periodSeconds": 60}
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": "app", "readinessProbe": readiness}])
        before = await world.until(ready)
        first = world.only()
    revision = before["metadata"]["resourceVersion"]
    async with world.kubelet():
        await world.create("second")
        await world.until(ready, "second")
        pod = await world.pod()
    assert first in world.runtime.running("app")
    assert pod["metadata"]["resourceVersion"] == revision
    assert world.runtime.signals == []


async def test_what_ended_while_the_engine_was_away_is_noticed(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
        first = world.only()
    world.runtime.exit(first, 7)
    async with world.kubelet():
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 7


async def test_after_a_reboot_the_containers_start_again(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
    world.runtime.lose_everything()
    world.network.attached.clear()
    async with world.kubelet():
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        assert container(pod)["lastState"]["terminated"]["reason"] == "Unknown"
        await world.until_event("SandboxChanged")


async def test_pods_that_vanished_meanwhile_are_removed(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
    await world.client.delete(PODS, "web", namespace="default", grace_period_seconds=0)
    async with world.kubelet(), asyncio.timeout(SECONDS):
        while world.runtime.states or world.runtime.sandboxes or list((world.config.state_dir / "pods").glob("*")):
            await asyncio.sleep(0.01)


async def test_logs_come_through_the_api(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
        path = Path(world.runtime.specs[world.only()].log_path)
        path.write_text("2026-01-01T00:00:00.000000000Z stdout F one\n2026-01-01T00:00:01.000000000Z stderr F two\n")
        async with HttpClient(unix_connector(world.config.server_socket), host_header="kubelet") as http:
            response = await http.request("GET", "/containerLogs/default/web/app?tailLines=1&timestamps=true")
            assert await response.read() == b"2026-01-01T00:00:01.000000000Z two\n"
            response = await http.request("GET", "/containerLogs/default/web/app?previous=true")
            assert response.status == 400
            assert b'previous terminated container "app" in pod "web" not found' in await response.read()


@pytest.mark.parametrize(
    ("image", "policy", "reason", "event"),
    [
        ("app", "Never", "ErrImageNeverPull", "ErrImageNeverPull: Container image"),
        ("APP", "IfNotPresent", "InvalidImageName", "InspectFailed: couldn't parse"),
    ],
)
async def test_images_that_cannot_be_had(world: World, image: str, policy: str, reason: str, event: str) -> None:
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": image, "imagePullPolicy": policy}])
        await world.until(lambda pod: waiting(pod) == reason)
        await world.until_event(event)
        await world.until_event(f"Failed: Error: {reason}")
        await world.client.delete(PODS, "web", namespace="default")
        await world.until_gone()


async def test_what_the_node_does_not_allow_is_said(world: World) -> None:
    async with world.kubelet():
        privileged = {"name": "app", "image": "app", "securityContext": {"privileged": True}}
        await world.create("privileged", containers=[privileged])
        await world.until(lambda pod: waiting(pod) == "CreateContainerConfigError", "privileged")
        await world.create("host", hostPID=True)
        await world.until_event("FailedCreatePodSandBox: Failed to create pod sandbox: spec.hostPID is true")
        await world.create("path", volumes=[{"name": "v", "hostPath": {"path": "/etc"}}])
        await world.until_event('FailedMount: MountVolume.SetUp failed for volume "v" : hostPath "/etc" is not allowed')


async def test_a_probe_whose_command_cannot_run_is_a_failure(world: World) -> None:
    def broken(id: str, args: tuple[str, ...]) -> ExecResult:
        raise ExecFailed("exec: no such file")

    world.runtime.on_exec = broken
    readiness = {"exec": {"command": ["check"]}}
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": "app", "readinessProbe": readiness}])
        await world.until_event("Unhealthy: Readiness probe failed: exec: no such file")


async def test_a_hook_after_the_start_that_fails_ends_the_container(world: World) -> None:
    world.runtime.on_exec = lambda _, args: ExecResult(exit_code=1, stdout=b"", stderr=b"")
    lifecycle = {"postStart": {"exec": {"command": ["hook"]}}}
    async with world.kubelet():
        await world.create(containers=[{"name": "app", "image": "app", "lifecycle": lifecycle}])
        await world.until_event("FailedPostStartHook: PostStartHook failed")
        await world.until(lambda pod: restarts(pod) >= 1)


async def test_a_changed_image_restarts_the_container(world: World) -> None:
    async with world.kubelet():
        await world.create()
        await world.until(ready)
        patch = {"spec": {"containers": [{"name": "app", "image": "app2"}]}}
        await world.client.patch(PODS, "web", patch, namespace="default", type=PatchType.STRATEGIC)
        pod = await world.until(lambda pod: restarts(pod) == 1 and ready(pod))
        assert container(pod)["image"] == "app2" and world.runtime.running("app2")
        await world.until_event("Killing: Container app definition changed, will be restarted")


async def test_sidecars_start_first_and_end_last(world: World) -> None:
    sidecar = {"name": "side", "image": "side", "restartPolicy": "Always"}
    order: list[str] = []
    world.runtime.on_signal = lambda name, _: order.append(world.runtime.specs[name].args[0])
    async with world.kubelet():
        await world.create(initContainers=[sidecar])
        pod = await world.until(ready)
        assert container(pod, "side")["ready"] is True
        await world.client.delete(PODS, "web", namespace="default")
        await world.until_gone()
    assert order == ["app", "side"]


async def test_an_engine_killed_during_the_drain_goes_on_with_it(world: World) -> None:
    async with world.kubelet():
        await world.create()
        pod = await world.until(ready)
        await world.publish(pod, ready=True)
        await world.client.delete(PODS, "web", namespace="default", grace_period_seconds=20)
        await world.until_event("Killing: Stopping container app")
    assert world.runtime.signals == []
    async with world.kubelet():
        await world.until(lambda pod: "deletionTimestamp" in pod["metadata"])
        await world.publish(pod, ready=False, terminating=True)
        await world.until_gone()
    assert [number for _, number in world.runtime.signals] == [signal.SIGTERM]


@pytest.mark.parametrize("took", [False, True], ids=["before the runtime", "after the runtime"])
async def test_an_engine_killed_while_it_starts_a_container_starts_it_once(world: World, took: bool) -> None:
    begun, start = asyncio.Event(), world.runtime.start

    async def interrupted(spec: ContainerSpec) -> ContainerState:
        if took:
            await start(spec)
        begun.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    world.runtime.start = interrupted
    async with world.kubelet():
        await world.create()
        await asyncio.wait_for(begun.wait(), SECONDS)
    world.runtime.start = start
    async with world.kubelet():
        pod = await world.until(ready)
    assert restarts(pod) == 0 and container(pod)["containerID"].endswith(world.only())
