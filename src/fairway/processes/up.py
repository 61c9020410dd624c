"""`fairway up`: start an instance in the foreground, or leave it in the background."""

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from fairway.cli import terminal
from fairway.processes import doctor, instance, launcher
from fairway.processes.instance import Address, Settings

_LABELS = {"api": "API answers", "node": "node is ready", "edge": "edge serves"}
_LOG_LINES = 15
_MOST_PODS = 65_000  # addresses of the pod network
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")


def run(arguments: argparse.Namespace) -> int:
    """Start; returns the exit code."""
    try:
        settings = settings_from(arguments)
    except ValueError as error:
        terminal.fail(f"fairway up: {error}")
        return 2
    if problems := doctor.missing(doctor.examine(settings.path)):
        for finding in problems:
            terminal.fail(f"{finding.name}: {finding.found}\n    → {finding.mend}")
        return 1
    return _detached(settings) if arguments.detach else _foreground(settings)


def settings_from(arguments: argparse.Namespace) -> Settings:
    """The settings that the flags ask for.  Raises ValueError naming the flag."""
    addresses: dict[str, Address] = {}
    for flag, host in (("http", "0.0.0.0"), ("https", "0.0.0.0"), ("api", "127.0.0.1")):
        try:
            addresses[flag] = instance.parse_address(getattr(arguments, flag), host)
        except ValueError as error:
            raise ValueError(f"--{flag}: {error}") from None
    registry = _registry(getattr(arguments, "registry", ""))  # only `up` has it
    pool = _pool(arguments.load_balancer_addresses)
    return Settings(
        str(arguments.state_dir.absolute()),
        addresses["http"],
        addresses["https"],
        addresses["api"],
        load_balancer_addresses=pool,
        registry=registry,
        platform_domain=_domain(arguments.platform_domain),
        egress=arguments.egress,
        runtime=getattr(arguments, "runtime", "auto"),  # only `up` has it
        edge=not getattr(arguments, "no_edge", False),  # only `up` has it
        delivery=not getattr(arguments, "no_delivery", False),  # only `up` has it
        push_bytes_max=instance.push_bytes(arguments.max_push_size),
        forges=tuple(sorted(set(arguments.allow_forge))),
        max_pods=_max_pods(getattr(arguments, "max_pods", "")),  # only `up` has it
        host_paths=_host_paths(getattr(arguments, "allow_host_path", []), arguments.state_dir),  # only `up` has it
        allow_privileged=getattr(arguments, "allow_privileged", False),  # only `up` has it
    )


def _max_pods(text: str) -> int | None:
    """Raises ValueError naming the flag."""
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_PODS:
        raise ValueError(f"--max-pods: {text!r} is not a number between 1 and {_MOST_PODS}")
    return int(text)


def _host_paths(given: list[str], state_dir: Path) -> tuple[str, ...]:
    """Real paths.  Raises ValueError naming the flag: for what pods cannot see, and for what has the cluster's keys."""
    found = []
    for text in given:
        path = Path(os.path.realpath(text))
        if not os.path.isabs(text):
            raise ValueError(f"--allow-host-path: {text!r} is not an absolute path")
        if path.is_relative_to("/run"):
            raise ValueError(
                f"--allow-host-path: {text!r} is hidden from the cluster with all of /run; use another folder"
            )
        state = Path(os.path.realpath(state_dir))
        if state.is_relative_to(path) or path.is_relative_to(state):
            raise ValueError(
                f"--allow-host-path: {text!r} and the cluster's state, {state}, with its keys are not apart"
            )
        found.append(str(path))
    return tuple(sorted(set(found)))


def _domain(text: str) -> str:
    """Raises ValueError naming the flag."""
    if not _DOMAIN.match(text) or len(text) > 240:
        raise ValueError(f"--platform-domain: {text!r} is not a domain such as fairway.example.com")
    return text


def _registry(text: str) -> Address | None:
    """Raises ValueError naming the flag."""
    try:
        return instance.parse_address(text, "127.0.0.1") if text else None
    except ValueError as error:
        raise ValueError(f"--registry: {error}") from None


def _pool(text: str) -> tuple[str, ...] | None:
    """`A,B`, `none`, or nothing.  Raises ValueError naming the flag."""
    if not text or text == "none":
        return () if text else None
    try:
        return tuple(str(ip_address(word.strip())) for word in text.split(","))
    except ValueError as error:
        raise ValueError(f"--load-balancer-addresses: {error}; give addresses of this host, A,B, or none") from None


def _foreground(settings: Settings) -> int:
    progress = _Progress(settings)
    code = _launch(settings, progress.notice)
    if not progress.ready and code:
        _show_log(settings)
    elif not code:
        terminal.ok("stopped; the state is kept in " + settings.state_dir)
    return code


def _launch(settings: Settings, on_notice: Callable[[str], None]) -> int:
    try:
        return launcher.launch(settings, on_notice)
    except instance.Busy as error:
        terminal.fail(f"{error}\n    → fairway down --state-dir {settings.state_dir}, or choose another --state-dir")
    except launcher.CannotStart as error:
        terminal.fail(str(error))
    return 1


class _Progress:
    """Prints what became ready, and when."""

    def __init__(self, settings: Settings) -> None:
        self.ready = False
        self._settings = settings
        self._began = time.monotonic()

    def notice(self, word: str) -> None:
        if self.ready:
            return
        seconds = time.monotonic() - self._began
        if word == "ready":
            self.ready = True
            print(summary(self._settings), flush=True)
        elif word in _LABELS:
            terminal.ok(f"{_LABELS[word]} {terminal.paint(f'({seconds:.2f} s)', 'dim')}")


def summary(settings: Settings) -> str:
    """Where everything listens, and what to do next."""
    rows = [
        ("HTTP", settings.http.url("http")),
        ("HTTPS", settings.https.url("https")),
        ("API", settings.api.url("https")),
        *([("registry", str(settings.registry))] if settings.registry else []),
        *([("git", git_url(settings))] if settings.delivery else []),
        ("kubeconfig", str(settings.kubeconfig)),
        ("log", str(settings.log_file)),
    ]
    lines = [f"  {terminal.paint(name.ljust(11), 'dim')}{value}" for name, value in rows]
    following = terminal.paint(f"export KUBECONFIG={settings.kubeconfig}", "bold")
    hints = [f"  {following}   # then: kubectl apply -f …"]
    if settings.delivery:
        app = terminal.paint("fairway app create NAME --domain HOST --remote", "bold")
        hints.append(f"  {app}   # in a git repository, then: git push fairway main")
    return "\n".join(["", *lines, "", *hints, ""])


def git_url(settings: Settings) -> str:
    """Where code is pushed to and forges send their webhooks."""
    port = "" if settings.https.port == 443 else f":{settings.https.port}"
    return f"https://git.{settings.platform_domain}{port}"


def _show_log(settings: Settings) -> None:
    try:
        lines = settings.log_file.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        return
    terminal.fail(f"it did not start; the last lines of {settings.log_file}:")
    print("\n".join("    " + line for line in lines), file=sys.stderr)


def _detached(settings: Settings) -> int:
    """Run the launcher in a child of its own session; return when it is ready."""
    read, write = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        os._exit(_background(settings, write))
    os.close(write)
    progress = _Progress(settings)
    with os.fdopen(read, "r") as words:
        for word in words:
            try:
                progress.notice(word.strip())
            except BrokenPipeError:  # as by `up --detach | head -1`: the cluster is wanted all the same
                terminal.silence()
            if progress.ready:
                return 0
    _, status = os.waitpid(pid, 0)
    _show_log(settings)
    return os.waitstatus_to_exitcode(status) or 1


def _background(settings: Settings, report: int) -> int:
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def tell(word: str) -> None:
        nonlocal report
        if report < 0:
            return  # an engine that was started again tells the same once more
        try:
            os.write(report, f"{word}\n".encode())
            told_all = word == "ready"
        except BrokenPipeError:
            told_all = True  # who asked is gone, and did not say that we should go too
        if told_all:
            os.close(report)
            report = -1
            _leave_terminal(settings.log_file)

    return _launch(settings, tell)


def _leave_terminal(log_file: Path) -> None:
    """From now on nobody reads our output: it goes where the cluster's goes."""
    log = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
