"""The container between a job and the API, run as its pod runs it, in front of an API that only remembers."""

import http.client
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairway.delivery.pipelines import apigate
from fairway.toolkit import signing
from fairway.toolkit.clock import SystemClock

Raw = dict[str, Any]


class Gate(msgspec.Struct):
    """The running program, what the API was asked, and what the platform was told."""

    port: int
    folder: Path
    asked: list[tuple[str, str, Raw]]
    told: list[list[Raw]]

    def ask(self, method: str, path: str, body: Raw | None = None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def noted(self) -> list[str]:
        path = self.folder / "changes.json"
        found = json.loads(path.read_text()) if path.exists() else []
        return [f"{'-' if one['deleted'] else '+'}{one['group']}/{one['resource']}/{one['name']}" for one in found]


class _Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, Raw]]
    told: list[list[Raw]]

    def log_message(self, *_: Any) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "/changes/" in self.path:
            assert self.headers["Authorization"] == "Bearer run-token"
            self.told.append(json.loads(body))
        else:
            self.asked.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}))
        refused = "forbidden" in self.path
        name = self.path.rpartition("/")[2].partition("?")[0]
        made = json.dumps({"metadata": {"name": f"made-in-{name}"}}).encode()
        self.send_response(403 if refused else 200)
        if "watch=true" in self.path:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (b'{"type":"ADDED"}\n', b'{"type":"MODIFIED"}\n'):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(made)))
        self.end_headers()
        self.wfile.write(made)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder = tmp_path_factory.mktemp("gate")
    now = SystemClock().now()
    authority = signing.authority("cluster", now)
    leaf = signing.server(authority, ["127.0.0.1"], now)
    (folder / "ca.crt").write_bytes(authority.certificate)
    (folder / "pair.pem").write_bytes(leaf.certificate + leaf.key)
    (folder / "token").write_text("account-token\n")
    (folder / "run-token").write_text("run-token\n")
    asked: list[tuple[str, str, Raw]] = []
    told: list[list[Raw]] = []
    handler = type("Handler", (_Server,), {"asked": asked, "told": told})
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "pair.pem")
    api.socket = context.wrap_socket(api.socket, server_side=True)
    platform = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    for server in (api, platform):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    program = Path(apigate.__file__).read_text()
    for name, path in (
        ("/fairway/account", folder),
        ("/fairway/cluster/config", folder / "config"),
        ("/fairway/changes/changes.json", folder / "changes.json"),
        ("/fairway/token/token", folder / "run-token"),
    ):
        program = program.replace(f'"{name}"', repr(str(path)))
    task = {"url": f"http://127.0.0.1:{platform.server_port}/runs/team/shop-1/", "step": "deploy", "namespace": "team"}
    environment = {
        **os.environ,
        "FAIRWAY_TASK": json.dumps(task),
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(api.server_port),
    }
    process = subprocess.Popen([sys.executable, "-I", "-c", program], env=environment)
    try:
        until(lambda: (folder / "config").exists())
        config = json.loads((folder / "config").read_text())
        url = config["clusters"][0]["cluster"]["server"]
        assert "token" not in json.dumps(config)
        yield Gate(int(url.rpartition(":")[2]), folder, asked, told)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert told[-1][-1]["name"] == "last", "what was noted is told before the end"
    finally:
        process.kill()
        process.wait()
        for server in (api, platform):
            server.shutdown()
            server.server_close()


def until(look: Any) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


TEAM = "/apis/apps/v1/namespaces/team/deployments"


def test_requests_go_on_with_the_token_that_the_job_has_not(gate: Gate) -> None:
    status, body = gate.ask("GET", f"{TEAM}/web", Authorization="Bearer mine", Accept="application/yaml")
    method, path, headers = gate.asked[-1]
    assert (status, method, path) == (200, "GET", f"{TEAM}/web") and b"made-in-web" in body
    assert headers["authorization"] == "Bearer account-token" and headers["accept"] == "application/yaml"


def test_a_watch_streams(gate: Gate) -> None:
    status, body = gate.ask("GET", f"{TEAM}?watch=true")
    assert status == 200 and body.count(b"\n") == 2


@pytest.mark.parametrize(
    ("method", "path", "noted"),
    [
        ("PATCH", f"{TEAM}/web?fieldManager=kubectl", "+apps/deployments/web"),
        ("POST", "/api/v1/namespaces/team/services?fieldManager=x", "+/services/made-in-services"),
        ("PUT", "/apis/networking.k8s.io/v1/namespaces/team/ingresses/web", "+networking.k8s.io/ingresses/web"),
        ("PATCH", f"{TEAM}/scaled/scale", "+apps/deployments/scaled"),
        ("DELETE", "/api/v1/namespaces/team/configmaps/old", "-/configmaps/old"),
        ("GET", f"{TEAM}/read", ""),
        ("PATCH", f"{TEAM}/tried?dryRun=All", ""),
        ("PATCH", f"{TEAM}/forbidden", ""),
        ("PATCH", f"{TEAM}/web2/status", ""),
        ("POST", "/api/v1/namespaces/team/pods/web/eviction", ""),
        ("PATCH", "/apis/apps/v1/namespaces/others/deployments/web3", ""),
        ("DELETE", TEAM, ""),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", ""),
    ],
)
def test_what_was_changed_is_noted_before_the_job_hears_of_it(gate: Gate, method: str, path: str, noted: str) -> None:
    before = gate.noted()
    gate.ask(method, path, {"a": 1})
    assert gate.noted() == ([*before, noted] if noted else before)


def test_the_platform_is_told_at_once(gate: Gate) -> None:
    gate.ask("PATCH", f"{TEAM}/last", {})
    until(lambda: gate.told and gate.told[-1][-1]["name"] == "last")
