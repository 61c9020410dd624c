"""What runs beside a job that may change the cluster: it hands requests on to the API with the pod's token, which the
job itself does not have, and notes which objects the job changed.

The text of this file is the program, run with `python3 -I -c` in an image that has nothing but Python 3.10 or newer; it
imports nothing of the project. What it notes is exact: it sees every request and how the API answered it, so that
nobody else's change is ever taken for one of the job's.
"""

import http.client
import http.server
import json
import os
import re
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from typing import Any

ACCOUNT = "/fairway/account"
KUBECONFIG = "/fairway/cluster/config"
CHANGES = "/fairway/changes/changes.json"
TOKEN_FILE = "/fairway/token/token"
_OBJECT = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/?]+)/[^/?]+)/namespaces/(?P<namespace>[^/?]+)/(?P<resource>[^/?]+)"
    r"(?:/(?P<name>[^/?]+))?(?:/(?P<sub>[^?]+))?(?:\?(?P<query>.*))?\Z"
)
_OWN_HEADERS = frozenset(
    ("authorization", "connection", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding")
)
_PIECE_BYTES = 65536
_ANSWER_SECONDS = 3600
_SAID_SECONDS_MAX = 4.0


class Notes:
    """The objects that were changed: in a file for the end of the job, and sent at once in case there is none."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._found: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._new = threading.Event()
        self._sent = threading.Event()

    def add(self, group: str, resource: str, name: str, deleted: bool) -> None:
        """Written before the job hears that its change was made."""
        with self._lock:
            key = f"{group}/{resource}/{name}"
            self._found.pop(key, None)
            self._found[key] = {"group": group, "resource": resource, "name": name, "deleted": deleted}
            with open(CHANGES + ".new", "w") as file:
                json.dump(list(self._found.values()), file)
            os.replace(CHANGES + ".new", CHANGES)
            self._sent.clear()
        self._new.set()

    def send_for_ever(self) -> None:
        """What could not be sent is sent with what comes next, or at the end."""
        while True:
            self._new.wait()
            self._new.clear()
            try:
                self.send()
            except (OSError, urllib.error.HTTPError):
                time.sleep(1)
                self._new.set()

    def send(self) -> None:
        with self._lock:
            data = json.dumps(list(self._found.values())).encode()
        with open(TOKEN_FILE) as file:
            headers = {"Authorization": "Bearer " + file.read().strip(), "Content-Length": str(len(data))}
        url = self._task["url"] + "changes/" + self._task["step"]
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method="PUT"), timeout=10):
            pass
        if not self._new.is_set():
            self._sent.set()

    def settle(self) -> None:
        """At the end of the pod: wait a moment until all is sent."""
        if self._found:
            self._sent.wait(_SAID_SECONDS_MAX)


class Gate(http.server.BaseHTTPRequestHandler):
    """One connection of the job's."""

    protocol_version = "HTTP/1.1"
    notes: Notes
    namespace: str

    def log_message(self, *_: Any) -> None:
        """The log is the job's."""

    def _serve(self) -> None:
        body = self._body()
        if self.headers.get("Upgrade"):
            self._tunnel()
            return
        seen = _OBJECT.match(self.path) if self.command not in ("GET", "HEAD", "OPTIONS") else None
        noted = seen is not None and self._counts(seen)
        connection = http.client.HTTPSConnection(*server(), context=trusted(), timeout=_ANSWER_SECONDS)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self._passed_on(plain=noted):
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            whole = answer.read() if noted else None
            if noted and seen is not None and 200 <= answer.status < 300:
                self._note(seen, whole or b"")
            self._answer(answer, whole)
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            if not getattr(self, "_begun", False):
                self.send_error(502, "the API cannot be reached: " + str(error))
        finally:
            connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            pieces = []
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _passed_on(self, plain: bool) -> list[tuple[str, str]]:
        """Headers for the API. Answers that are to be read are wanted as JSON, which every client takes."""
        kept = [
            (name, value)
            for name, value in self.headers.items()
            if name.lower() not in _OWN_HEADERS and not (plain and name.lower() in ("accept", "accept-encoding"))
        ]
        with open(ACCOUNT + "/token") as file:
            kept += [("Host", ":".join(map(str, server()))), ("Authorization", "Bearer " + file.read().strip())]
        return [*kept, ("Accept", "application/json")] if plain else kept

    def _counts(self, seen: "re.Match[str]") -> bool:
        """Whether it would change what an object is to be, and not what happens to it."""
        return (
            seen["namespace"] == self.namespace
            and seen["sub"] in (None, "scale")
            and "dryRun=" not in (seen["query"] or "")
            and not (self.command == "DELETE" and not seen["name"])
        )

    def _note(self, seen: "re.Match[str]", answer: bytes) -> None:
        name = seen["name"]
        if not name:
            try:
                name = json.loads(answer)["metadata"]["name"]
            except (ValueError, KeyError, TypeError):
                return
        self.notes.add(seen["group"] or "", seen["resource"], name, self.command == "DELETE")

    def _answer(self, answer: http.client.HTTPResponse, whole: bytes | None) -> None:
        self._begun = True
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in (*_OWN_HEADERS, "content-length"):
                self.send_header(name, value)
        length = len(whole) if whole is not None else answer.length
        bare = self.command == "HEAD" or answer.status in (204, 304)
        if length is not None and not bare:
            self.send_header("Content-Length", str(length))
        elif not bare:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if bare:
            return
        pieces = iter((whole,)) if whole is not None else iter(lambda: answer.read1(_PIECE_BYTES), b"")
        for piece in pieces:
            if length is not None:
                self.wfile.write(piece)
            elif piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if length is None:
            self.wfile.write(b"0\r\n\r\n")

    def _tunnel(self) -> None:
        """exec, attach and port-forward: bytes both ways until one side ends."""
        self.close_connection = True
        with (
            socket.create_connection(server()) as plain,
            trusted().wrap_socket(plain, server_hostname=server()[0]) as api,
        ):
            headers = [*self._passed_on(plain=False), ("Connection", "Upgrade")]
            lines = [self.requestline, *(name + ": " + value for name, value in headers)]
            api.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            back = threading.Thread(target=copy, args=(api.recv, self.connection.sendall), daemon=True)
            back.start()
            copy(self.rfile.read1, api.sendall)
            back.join(1)


def copy(read: Any, write: Any) -> None:
    """Until there is no more, or nobody to take it."""
    try:
        while piece := read(_PIECE_BYTES):
            write(piece)
    except OSError:
        return


def server() -> tuple[str, int]:
    return os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ.get("KUBERNETES_SERVICE_PORT") or 443)


def trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ACCOUNT + "/ca.crt")


def kubeconfig(port: int, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "cluster", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "job", "user": {}}],
        "contexts": [{"name": "job", "context": {"cluster": "cluster", "user": "job", "namespace": namespace}}],
        "current-context": "job",
    }


def main() -> None:
    task = json.loads(os.environ["FAIRWAY_TASK"])
    Gate.notes, Gate.namespace = Notes(task), task["namespace"]
    gate = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    gate.daemon_threads = True

    def end() -> None:
        Gate.notes.settle()
        os._exit(0)

    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, daemon=True).start())
    threading.Thread(target=Gate.notes.send_for_ever, daemon=True).start()
    with open(KUBECONFIG + ".new", "w") as file:
        json.dump(kubeconfig(gate.server_port, task["namespace"]), file)
    os.chmod(KUBECONFIG + ".new", 0o644)
    os.replace(KUBECONFIG + ".new", KUBECONFIG)  # the job begins when it is there
    gate.serve_forever()


if __name__ == "__main__":
    main()
