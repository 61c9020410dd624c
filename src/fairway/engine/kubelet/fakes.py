"""A runtime, images and a network in memory: the same interfaces, for everything that is tested around them."""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence

import msgspec

from fairway.engine.kubelet.fake_sessions import FakeAttached, FakeCommand
from fairway.engine.kubelet.images import (
    Credential,
    Image,
    ImageConfig,
    ImageNotPresent,
    InvalidName,
    Policy,
    PullError,
)
from fairway.engine.kubelet.runtime.errors import ContainerExists, ContainerUnknown, ExecFailed
from fairway.engine.kubelet.runtime.model import ContainerSpec, ContainerState, ExecResult, Limits, SandboxState
from fairway.engine.kubelet.runtime.sessions import STDERR, STDOUT
from fairway.toolkit.clock import Clock
from fairway.toolkit.oci.authentication import logins_for
from fairway.toolkit.oci.reference import Reference

Exec = Callable[[str, tuple[str, ...]], ExecResult]


class FakeRuntime:
    """Containers run until `exit` is called or a signal ends them; `stubborn` ones only end by SIGKILL.

    It may outlive the kubelet that uses it, as the real one does.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._subscribers: list[Callable[[str], None]] = []
        self.states: dict[str, ContainerState] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.sandboxes: dict[str, SandboxState] = {}
        self.signals: list[tuple[str, int]] = []
        self.stubborn: set[str] = set()
        self.unrunnable: dict[str, str] = {}
        self.attached: dict[str, list[FakeAttached]] = {}
        self.on_signal: Callable[[str, int], None] = lambda _, number: None
        self.on_exec: Exec = lambda _, args: ExecResult(exit_code=0, stdout=b"", stderr=b"")

    @property
    def limits_enforced(self) -> tuple[str, ...]:
        return ("memory", "cpu", "pids")

    async def create_sandbox(
        self,
        id: str,
        hostname: str,
        *,
        host_network: bool = False,
        share_processes: bool = False,
        sysctls: tuple[tuple[str, str], ...] = (),
    ) -> SandboxState:
        return self.sandboxes.setdefault(id, SandboxState(id=id, netns_path=f"/fake/{id}"))

    async def remove_sandbox(self, id: str) -> None:
        self.sandboxes.pop(id, None)

    async def list_sandboxes(self) -> tuple[SandboxState, ...]:
        return tuple(self.sandboxes.values())

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Run, or fail when `unrunnable` has a message for the program."""
        await asyncio.sleep(0)
        if spec.id in self.specs:
            raise ContainerExists(f"container {spec.id} exists")
        now = self._now()
        self.specs[spec.id] = spec
        problem = self.unrunnable.get(spec.args[0])
        if problem is not None:
            state = ContainerState(
                id=spec.id, status="failed", exit_code=128, reason="StartError", message=problem, finished_at=now
            )
        else:
            state = ContainerState(id=spec.id, status="running", pid=1, started_at=now)
        self.states[spec.id] = state
        return state

    async def signal(self, id: str, signal_number: int) -> None:
        if id not in self.states:
            raise ContainerUnknown(id)
        self.signals.append((id, signal_number))
        self.on_signal(id, signal_number)
        if signal_number == signal.SIGKILL or self._program(id) not in self.stubborn:
            self.exit(id, 128 + signal_number, signal_number)

    async def resize(self, id: str, own: Limits, shared: Limits) -> None:
        self.specs[id] = msgspec.structs.replace(
            self.specs[id],
            memory_limit_bytes=own.memory_bytes,
            cpu_quota_us=own.cpu_quota_us,
            cpu_shares=own.cpu_shares,
            pod_limits=(shared.memory_bytes, shared.cpu_quota_us, shared.cpu_shares, None),
        )

    async def remove(self, id: str) -> None:
        self.states.pop(id, None)
        self.specs.pop(id, None)

    async def list(self) -> tuple[ContainerState, ...]:
        return tuple(self.states.values())

    def subscribe(self, callback: Callable[[str], None]) -> None:
        self._subscribers.append(callback)

    async def exec(
        self,
        id: str,
        args: Sequence[str],
        env: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> ExecResult:
        self._check_running(id)
        return self.on_exec(id, tuple(args))

    async def open_command(
        self, id: str, args: Sequence[str], env: Mapping[str, str] | None = None, *, tty: bool, stdin: bool
    ) -> FakeCommand:
        """A command that says what `on_exec` answers, then gives back its input."""
        self._check_running(id)
        return FakeCommand(self.on_exec(id, tuple(args)), stdin=stdin)

    async def attach(self, id: str, *, stdin: bool, stdout: bool, stderr: bool) -> FakeAttached:
        """Hear what the container is made to `say`, which is also what it is given."""
        state = self.states.get(id)
        if state is None or state.status != "running":
            raise ContainerUnknown(id)
        wanted = frozenset(stream for stream, given in ((STDOUT, stdout), (STDERR, stderr)) if given)

        def give(data: bytes) -> None:
            if stdin and self.specs[id].stdin:
                self.say(id, STDOUT, data)

        def leave() -> None:
            if stdin and self.specs[id].stdin_once:
                self.exit(id, 0)
            session.end()

        session = FakeAttached(wanted, give, leave)
        self.attached.setdefault(id, []).append(session)
        return session

    def say(self, id: str, stream: int, data: bytes) -> None:
        """Let a container put something out."""
        for session in self.attached.get(id, ()):
            session.hear(stream, data)

    async def pod_socket(self, sandbox_id: str, family: int) -> socket.socket:
        """A socket of this process's own network, where FakeNetwork's addresses are."""
        if sandbox_id not in self.sandboxes:
            raise FileNotFoundError(2, "No such file or directory", f"/fake/{sandbox_id}")
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        return sock

    def _check_running(self, id: str) -> None:
        state = self.states.get(id)
        if state is None or state.status != "running":
            raise ExecFailed(f"container {id} is not running")

    def exit(self, id: str, code: int, by_signal: int | None = None) -> None:
        """End a container."""
        state = self.states[id]
        if state.status != "running":
            return
        self.states[id] = msgspec.structs.replace(
            state,
            status="exited",
            exit_code=code,
            signal=by_signal,
            reason="Completed" if code == 0 else "Error",
            finished_at=self._now(),
        )
        for session in self.attached.pop(id, ()):
            session.end()
        for callback in self._subscribers:
            callback(id)

    def lose_everything(self) -> None:
        """A reboot."""
        self.states.clear()
        self.specs.clear()
        self.sandboxes.clear()

    def running(self, program: str) -> tuple[str, ...]:
        """The ids of the containers that run a program."""
        running = (state.id for state in self.states.values() if state.status == "running")
        return tuple(each for each in running if self._program(each) == program)

    def _program(self, id: str) -> str:
        return self.specs[id].args[0]

    def _now(self) -> str:
        return self._clock.now().isoformat()


class FakeImages:
    """Every image is in the registry except those in `missing`; its program is its name, which must be lower case."""

    def __init__(self) -> None:
        self.present: dict[str, Image] = {}
        self.missing: set[str] = set()
        self.user = ""
        self.credentials: tuple[Credential, ...] = ()
        self.logins: frozenset[str] = frozenset()
        """Passwords that are good for every image."""

    async def may_pull(self, wanted: Reference, credentials: tuple[Credential, ...]) -> bool:
        return any(login.password in self.logins for login in logins_for(wanted, credentials))

    async def ensure(self, reference: str, policy: Policy, credentials: tuple[Credential, ...] = ()) -> Image:
        if reference != reference.lower():
            raise InvalidName(f'couldn\'t parse image name "{reference}"')
        if reference not in self.present:
            if policy == "Never":
                raise ImageNotPresent(f'Container image "{reference}" is not present with pull policy of Never')
            self.credentials = credentials
            if reference in self.missing:
                raise PullError(f'failed to resolve reference "{reference}": not found', retryable=False)
            self.present[reference] = self._image(reference)
        return self.present[reference]

    def list(self) -> tuple[Image, ...]:
        return tuple(self.present.values())

    def remove(self, reference: str) -> bool:
        return self.present.pop(reference, None) is not None

    def _image(self, reference: str) -> Image:
        config = ImageConfig(entrypoint=(reference,), user=self.user, env=("FROM_IMAGE=yes",))
        digest = "sha256:" + "0" * 64
        return Image(reference, digest, digest, digest, (), config, 1, "", "local")


class FakeNetwork:
    """Addresses on loopback, so that probes can be answered."""

    def __init__(self) -> None:
        self.attached: dict[str, str] = {}
        self.detached: list[str] = []

    async def setup_node(self) -> None:
        return

    async def attach(self, sandbox_id: str) -> str:
        return self.attached.setdefault(sandbox_id, f"127.0.1.{len(self.attached) + 1}")

    async def detach(self, sandbox_id: str, ip: str) -> None:
        self.attached.pop(sandbox_id, None)
        self.detached.append(ip)
