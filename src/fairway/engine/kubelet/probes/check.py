"""A probe or lifecycle hook of a container -> one check that can be run."""

import asyncio

import msgspec

from fairway.engine.kubelet.interfaces import Runtime
from fairway.engine.kubelet.probes import grpc, http, tcp
from fairway.engine.kubelet.probes.result import Result
from fairway.engine.kubelet.runtime.errors import ContainerUnknown, RuntimeRefused
from fairway.engine.kubelet.runtime.model import ExecResult
from fairway.kube.api.pods import Container, ExecAction, HttpGetAction, Probe

_OUTPUT_BYTES_MAX = 10 * 1024


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The run of a container that is checked."""

    container: Container
    id: str
    ip: str
    version: str


async def check(probe: Probe, place: Place, runtime: Runtime) -> Result:
    """Run one check; every failure is an answer."""
    timeout_seconds = float(probe.timeout_seconds)
    if probe.http_get is not None:
        return await http_get(probe.http_get, place, timeout_seconds)
    if probe.tcp_socket is not None:
        port = port_number(place.container, probe.tcp_socket.port)
        if port is None:
            return _no_port(probe.tcp_socket.port)
        return await tcp.check(probe.tcp_socket.host or place.ip, port, timeout_seconds=timeout_seconds)
    if probe.exec is not None:
        return await execute(probe.exec, place, runtime, timeout_seconds)
    if probe.grpc is not None:
        action = probe.grpc
        return await grpc.check(
            place.ip, action.port, action.service, version=place.version, timeout_seconds=timeout_seconds
        )
    return Result(False, "the probe has no action: set httpGet, tcpSocket, exec or grpc")


async def http_get(action: HttpGetAction, place: Place, timeout_seconds: float) -> Result:
    """An HTTP request to a container."""
    port = port_number(place.container, action.port)
    if port is None:
        return _no_port(action.port)
    target = http.Target(
        scheme=action.scheme,
        host=action.host or place.ip,
        port=port,
        path=action.path,
        headers=tuple((header.name, header.value) for header in action.http_headers),
    )
    return await http.check(target, version=place.version, timeout_seconds=timeout_seconds)


async def execute(action: ExecAction, place: Place, runtime: Runtime, timeout_seconds: float) -> Result:
    """A command in a container: exit code 0 is healthy."""
    try:
        async with asyncio.timeout(timeout_seconds + 1):  # the runtime ends the command; this only guards the answer
            result = await runtime.exec(place.id, action.command, timeout_seconds=timeout_seconds)
    except TimeoutError:
        return Result(False, f'command timed out: "{" ".join(action.command)}" timed out after {timeout_seconds:g}s')
    except (OSError, RuntimeRefused, ContainerUnknown) as error:
        return Result(False, str(error))
    return Result(result.exit_code == 0, _output(result))


def _output(result: ExecResult) -> str:
    return (result.stdout + result.stderr)[:_OUTPUT_BYTES_MAX].decode("utf-8", "replace")


def port_number(container: Container, port: int | str) -> int | None:
    """The number of a port given by number or by name."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    return next((each.container_port for each in container.ports if each.name == port), None)


def _no_port(port: int | str) -> Result:
    return Result(False, f'couldn\'t find port: "{port}"')
