"""What the official Python client does with a container: logs, exec, attach, two forwarded ports at once."""

import sys
import time

from kubernetes import client, config, watch
from kubernetes.stream import portforward, stream

REQUEST = b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n"


def until(check, what: str) -> None:
    """Wait for what comes in its own time."""
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)


def main(pod: str) -> None:
    config.load_kube_config()
    core = client.CoreV1Api()
    place = (pod, "default")

    command = ["sh", "-c", "cat; echo wrong >&2; exit 3"]
    options = {"stdin": True, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
    run = stream(core.connect_get_namespaced_pod_exec, *place, command=command, **options)
    run.write_stdin("told\n")
    assert run.readline_stdout(timeout=60) == "told"
    run.close()
    command = ["sh", "-c", "echo right; echo wrong >&2; exit 3"]
    run = stream(core.connect_get_namespaced_pod_exec, *place, command=command, **{**options, "stdin": False})
    run.run_forever(timeout=60)
    assert (run.read_stdout(), run.read_stderr(), run.returncode) == ("right\n", "wrong\n", 3)

    forward = portforward(core.connect_get_namespaced_pod_portforward, *place, ports="80,81")
    connection = forward.socket(80)
    connection.setblocking(True)
    connection.sendall(REQUEST)
    answer = b""
    while data := connection.recv(65536):  # until the pod closes
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 ") and b"</html>" in answer, answer
    until(lambda: "connection refused" in (forward.error(81) or ""), "why nobody answers at 81")
    assert forward.error(80) is None

    until(lambda: "GET / " in core.read_namespaced_pod_log(*place), "the request in the log")
    for line in watch.Watch().stream(core.read_namespaced_pod_log, *place):
        assert line
        break
    print("fine")


main(sys.argv[1])
