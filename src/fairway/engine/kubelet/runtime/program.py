"""The last steps before a container's program runs: stdio, user, privileges, exec. Runs inside the container's root.

Nothing may be imported from here on, see `zygote.seal_imports`.
"""

import errno
import fcntl
import os
import signal
import termios

from fairway.engine.kubelet.runtime import privileges
from fairway.toolkit import linux

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Identity:
    """What a program in the container may be and do; worked out before the root is entered."""

    def __init__(self, capabilities: frozenset[str], filter_code: bytes, *, no_new_privileges: bool) -> None:
        self.capabilities = capabilities
        self.filter_code = filter_code
        self.no_new_privileges = no_new_privileges


class Stdio:
    """Descriptors for a program's input, output and errors; no input means /dev/null.

    `terminal` says that they are a terminal, which becomes the controlling one of the program's session.
    """

    def __init__(self, stdin: int | None, stdout: int, stderr: int, *, terminal: bool = False) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self.terminal = terminal


class StartFailure(Exception):
    """The program could not be executed; the message is the one that container runtimes give."""


def reset_process() -> None:
    """Undo what Python and the zygote changed and a program would inherit."""
    for number in range(1, signal.NSIG):
        try:
            linux.default_signal(number)
        except OSError:
            continue  # KILL and STOP
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    try:
        linux.join_session_keyring()
    except OSError:
        pass  # no keyrings in this kernel


def run(
    args: tuple[str, ...],
    env: dict[str, str],
    cwd: str,
    account: privileges.Account,
    identity: Identity,
    stdio: Stdio,
    *,
    die_with_parent: bool,
) -> None:
    """Become the program. Returns only by StartFailure."""
    environment = {"PATH": DEFAULT_PATH, "HOME": account.home, **env}
    _enter_folder(cwd)
    _connect(stdio, account)
    linux.close_range(3, flags=linux.CLOSE_RANGE_CLOEXEC)
    privileges.give_up(
        account,
        identity.capabilities,
        no_new_privileges=identity.no_new_privileges,
        filter_code=identity.filter_code,
    )
    if die_with_parent:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
    _execute(args, environment)


def _connect(stdio: Stdio, account: privileges.Account) -> None:
    if stdio.terminal:
        fcntl.ioctl(stdio.stdout, termios.TIOCSCTTY, 0)
    given = [fd for fd in (stdio.stdin, stdio.stdout, stdio.stderr) if fd is not None]
    for fd in () if privileges.is_the_only_one(account) else given:
        try:
            os.fchown(fd, account.uid, account.gid)  # so that a non-root program may open /dev/stdout
        except OSError as error:
            raise privileges.unmapped("user or group", f"{account.uid}:{account.gid}", error) from error
    os.dup2(os.open("/dev/null", os.O_RDONLY) if stdio.stdin is None else stdio.stdin, 0)
    os.dup2(stdio.stdout, 1)
    os.dup2(stdio.stderr, 2)


def _enter_folder(cwd: str) -> None:
    try:
        os.makedirs(cwd, 0o755, exist_ok=True)
        os.chdir(cwd)
    except OSError as error:
        raise StartFailure(f'chdir to cwd ("{cwd}") set in config.json failed: {_reason(error)}') from error


def _execute(args: tuple[str, ...], environment: dict[str, str]) -> None:
    """execve with the search that Go's exec.LookPath makes, and its words when it fails."""
    name = args[0] if args else ""
    candidates = (name,) if "/" in name else _candidates(name, environment["PATH"])
    denied = False
    for candidate in candidates:
        try:
            os.execve(candidate, args, environment)
        except OSError as error:
            if "/" in name:
                raise StartFailure(_path_failure(name, error)) from error
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise StartFailure(f"exec {candidate}: {_reason(error)}") from error
            denied = denied or (error.errno == errno.EACCES and os.path.isfile(candidate))
    reason = "permission denied" if denied else "executable file not found in $PATH"
    raise StartFailure(f'exec: "{name}": {reason}')


def _candidates(name: str, path: str) -> tuple[str, ...]:
    return tuple(f"{folder or '.'}/{name}" for folder in path.split(":")) if name else ()


def _path_failure(name: str, error: OSError) -> str:
    if error.errno == errno.ENOENT and os.path.exists(name):
        return f"exec {name}: no such file or directory"  # the interpreter is missing
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f'exec: "{name}": stat {name}: {_reason(error)}'
    if error.errno == errno.EACCES:
        directory = os.path.isdir(name)
        return f'exec: "{name}": {"is a directory" if directory else "permission denied"}'
    return f"exec {name}: {_reason(error)}"


def _reason(error: OSError) -> str:
    return os.strerror(error.errno or 0).lower()
