"""Pods and the node reach each other over real links."""

import asyncio
import subprocess

import pytest

from fairway.engine.kubelet.network import PodNetwork
from fairway.engine.kubelet.network.addresses import AddressesExhausted

pytestmark = pytest.mark.real


def test_pods_and_node_reach_each_other(node):
    async def body(node):
        await node.network.setup_node()
        await node.network.setup_node()
        addresses = []
        for name in ("a", "b"):
            state = await node.runtime.create_sandbox(name, f"pod-{name}")
            assert state.ip == ""
            addresses.append(await node.network.attach(name))
            assert await node.network.attach(name) == addresses[-1]
        assert addresses == ["10.42.0.2", "10.42.0.3"]
        assert [each.ip for each in await node.runtime.list_sandboxes()] == addresses
        server = "mkdir /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www"
        await node.runtime.start(node.spec("server", "sh", "-c", server, sandbox="b", uid=1000 - 1000))
        get = f"until wget -q -O - http://{addresses[1]}/; do sleep 0.05; done; ping -c 1 -q {addresses[1]}"
        state, log = await node.run("client", "sh", "-c", get, sandbox="a")
        assert state.exit_code == 0 and log.startswith("pod-b\n"), log
        _, log = await node.run("beside", "wget", "-q", "-O", "-", "http://127.0.0.1/", sandbox="b")
        assert log == "pod-b\n"
        reader, writer = await asyncio.open_connection(addresses[1], 80)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        assert b"pod-b" in await reader.read()
        writer.close()
        state, log = await node.run("to-node", "ping", "-c", "1", "-q", "10.42.0.1", sandbox="a")
        assert state.exit_code == 0, log
        state, log = await node.run("lost", "ping", "-c", "1", "-W", "1", "-q", "10.42.7.7", sandbox="a")
        assert state.exit_code == 1

    node(body)


def test_addresses_survive_a_restart_and_are_given_back(node):
    async def body(node):
        await node.network.setup_node()
        for name in ("a", "b"):
            await node.runtime.create_sandbox(name, name)
        assert [await node.network.attach(name) for name in ("a", "b")] == ["10.42.0.2", "10.42.0.3"]
        network = PodNetwork(node.run_dir)  # as a new engine would
        await network.setup_node()
        assert [await network.attach(name) for name in ("a", "b")] == ["10.42.0.2", "10.42.0.3"]
        await network.detach("a", "10.42.0.2")
        await network.detach("a", "10.42.0.2")
        await node.runtime.remove_sandbox("a")
        await node.runtime.remove_sandbox("a")
        await node.runtime.create_sandbox("c", "c")
        assert await network.attach("c") == "10.42.0.4"
        links = subprocess.check_output(["ip", "-br", "link"], text=True)
        assert links.count("UP") >= 2 and "node0" in links

    node(body)


def test_small_network_wraps_around_and_runs_out(node):
    async def body(node):
        network = PodNetwork(node.run_dir, pod_cidr="10.9.0.0/29", node_ip="10.9.0.1")
        await network.setup_node()
        for number in range(5):
            await node.runtime.create_sandbox(f"s{number}", "s")
            assert await network.attach(f"s{number}") == f"10.9.0.{number + 2}"
        await node.runtime.create_sandbox("more", "s")
        with pytest.raises(AddressesExhausted):
            await network.attach("more")
        await network.detach("s1", "10.9.0.3")
        assert await network.attach("more") == "10.9.0.3"

    node(body)


def test_sandbox_namespaces_are_shared_and_private(node):
    async def body(node):
        await node.runtime.create_sandbox("s", "pod")
        again = await node.runtime.create_sandbox("s", "other")
        assert again.netns_path.endswith("/sandboxes/s/net")
        show = "hostname; readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts; ip -br addr show lo"
        logs = []
        for name in ("x", "y"):
            _, log = await node.run(name, "sh", "-c", show, sandbox="s")
            logs.append(log)
        assert logs[0] == logs[1] and logs[0].startswith("pod\n")
        await node.run("shm-writer", "sh", "-c", "echo shared > /dev/shm/x", sandbox="s")
        _, log = await node.run("shm-reader", "cat", "/dev/shm/x", sandbox="s")
        assert log == "shared\n"
        state, log = await node.run("port", "sh", "-c", "httpd -p 80 -h /tmp && echo listening", sandbox="s", uid=1000)
        assert (state.exit_code, log) == (0, "listening\n"), log

    node(body)
