"""argv to a process or to the client: the one place that sees both."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import fairway
from fairway.cli import terminal
from fairway.cli.parsing import Parser
from fairway.toolkit import linux

_LIVE_ON = (["up"], ["demo"])  # what they start is wanted although nobody reads what they say
_OF_THE_CLUSTER = frozenset(("up", "down", "status", "doctor", "trust", "backup", "restore"))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    if argv is None and words[:1] not in _LIVE_ON:
        terminal.end_when_nobody_reads()
    try:
        try:
            return _run(words)
        finally:
            print(end="", flush=True)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        terminal.silence()  # Python must not complain at exit
        return terminal.NOBODY_READS


def _run(words: Sequence[str]) -> int:
    arguments = _parser(words[0] if words else "").parse_args(words)
    code: int = _inside(arguments) if _needs_root(arguments) else arguments.run(arguments)
    return code


def _needs_root(arguments: argparse.Namespace) -> bool:
    """Whether it is about images, whose files belong to many users, and this is an ordinary one."""
    return os.geteuid() != 0 and arguments.run.__module__ == "fairway.cli.images"


def _inside(arguments: argparse.Namespace) -> int:
    """Run a command as root of a user namespace."""
    from fairway.processes import rootless  # not needed to start a cluster as root

    try:
        pid = rootless.fork(linux.CLONE_NEWNS)
    except (OSError, rootless.CannotMap) as error:
        terminal.fail(f"cannot make a user namespace: {error}; `fairway doctor` says what is missing")
        return 1
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        code = arguments.run(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _parser(word: str) -> argparse.ArgumentParser:
    """All commands; what those with many modules bring is left out when `word` is about the cluster itself."""
    parser: argparse.ArgumentParser = Parser(
        prog="fairway",
        description="A repository and a domain in, a live site out: on Kubernetes, with a cluster of its own.",
    )
    parser.add_argument("--version", action="version", version=f"fairway {fairway.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    up = _command(commands, "up", "start the cluster and serve", _up)
    http, https = ("0.0.0.0:80", "0.0.0.0:443") if os.geteuid() == 0 else ("0.0.0.0:8080", "0.0.0.0:8443")
    _listening(up, http=http, https=https, api="127.0.0.1:6443")
    up.add_argument(
        "--registry", default="", metavar="ADDR:PORT", help="also serve the cluster's image registry on the host"
    )
    up.add_argument(
        "--no-edge", action="store_true", help="serve no Ingresses: another controller does, like `fairway run edge`"
    )
    up.add_argument(
        "--no-delivery", action="store_true", help="look after no Apps: another does, like `fairway run delivery`"
    )
    up.add_argument(
        "--runtime",
        choices=("auto", "native", "crun", "runc"),
        default=os.environ.get("FAIRWAY_RUNTIME", "auto"),
        help="what makes the containers; auto: the first that works here; default: $FAIRWAY_RUNTIME, else auto",
    )
    _node(up)
    up.add_argument("--detach", action="store_true", help="go to the background when it is ready")
    _command(commands, "down", "stop the cluster; its state stays", _down)
    _command(commands, "status", "what runs and where it listens", _status)
    _command(commands, "doctor", "what this machine has or lacks, and the command that mends it", _doctor)
    trust = _command(commands, "trust", "let this machine accept the sites' certificates", _trust)
    trust.add_argument("--print", action="store_true", help="print the root certificate (PEM) and change nothing")
    trust.add_argument("--remove", action="store_true", help="take the root out of the system's trust store again")
    trust.add_argument("--kubeconfig", type=Path, metavar="FILE", help="of another cluster, instead of --state-dir")
    backup = _command(commands, "backup", "write the objects and keys to a file; the cluster may run", _backup)
    backup.add_argument("file", type=Path, metavar="FILE", help="a tar.gz archive; an older one is replaced")
    restore = _command(commands, "restore", "put a backup in place of the state; the cluster must be stopped", _restore)
    restore.add_argument("file", type=Path, metavar="FILE", help="what `fairway backup` wrote")
    _registry(commands)
    demo = _command(commands, "demo", "start a cluster, apply the examples, show the live URLs", _demo)
    _listening(demo, http="127.0.0.1:8080", https="127.0.0.1:8443", api="127.0.0.1:6443")
    demo.add_argument("--examples", type=Path, default=Path("examples"), metavar="DIR", help="manifests to apply")
    demo.add_argument("--once", action="store_true", help="check every URL, stop, and exit 0 only if all answered")
    if word not in _OF_THE_CLUSTER:
        _images(commands)
        _edge(commands)
        _apps(commands)
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, run: object
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    parser.add_argument(
        "--state-dir", type=Path, default=default_state_dir(), metavar="DIR", help="where the cluster keeps its state"
    )
    parser.set_defaults(run=run)
    return parser


def _listening(parser: argparse.ArgumentParser, **defaults: str) -> None:
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", default=default, metavar="ADDR:PORT", help=f"default {default}")
    parser.add_argument(
        "--egress",
        choices=("auto", "veth", "slirp4netns", "none"),
        default=os.environ.get("FAIRWAY_EGRESS", "auto"),
        help="how pods reach the outside; auto: veth as root, else slirp4netns; default: $FAIRWAY_EGRESS, else auto",
    )
    parser.add_argument(
        "--platform-domain",
        default="fairway.localhost",
        metavar="DOMAIN",
        help="git.DOMAIN takes pushes and webhooks; default fairway.localhost",
    )
    parser.add_argument(
        "--allow-forge",
        action="append",
        default=[],
        metavar="HOST",
        help="a forge that may be asked although its address is this machine's or the cluster's; may repeat",
    )
    parser.add_argument(
        "--max-push-size", default="512Mi", metavar="SIZE", help="how large a git push may be; default 512Mi"
    )
    parser.add_argument(
        "--load-balancer-addresses",
        default="",
        metavar="A,B|none",
        help="addresses of this host for Services of type LoadBalancer; default: the address of --http",
    )


def _node(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-pods", default="", metavar="N", help="how many pods the node takes; default: by its memory, 110 to 1000"
    )
    parser.add_argument(
        "--allow-host-path",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of the host that pods may mount, with all that is in it; may repeat; default: none",
    )
    parser.add_argument(
        "--allow-privileged", action="store_true", help="start privileged containers, which can do what the node can"
    )


def _images(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from fairway.cli import images  # its modules are not needed to start a cluster

    images.add_parser(commands, default_state_dir())


def _edge(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from fairway.cli import edge  # its modules are not needed to start a cluster
    from fairway.cli.delivery import alone

    parts = edge.add_parser(commands, default_state_dir(), lint=_edge_lint, explain=_edge_explain, run=_run_edge)
    alone.add_parser(parts, default_state_dir(), _run_delivery)


def _apps(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from fairway.cli import git  # as above
    from fairway.cli.delivery import arguments

    arguments.add_parser(commands, default_state_dir())
    git.add_parser(commands)


def _registry(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    registry = commands.add_parser("registry", help="tokens for the image registry", description="The image registry.")
    verbs = registry.add_subparsers(metavar="VERB", required=True)
    token = _command(verbs, "token", "give a token, or take it back", _registry_token)
    token.add_argument("name", metavar="NAME", help="who it is for; an existing one gets a new secret")
    which = "team/app or team/*; may repeat; default: every repository"
    token.add_argument("--repository", action="append", metavar="PATTERN", help=which)
    token.add_argument("--actions", default="pull", metavar="A,B", help="of pull, push, delete; default: pull")
    token.add_argument("--days", type=int, default=0, metavar="N", help="how long it is good; default: for ever")
    token.add_argument("--revoke", action="store_true", help="take it back instead")


def default_state_dir() -> Path:
    """$FAIRWAY_STATE_DIR, else the place for state of root or of the user (XDG base directories)."""
    if chosen := os.environ.get("FAIRWAY_STATE_DIR"):
        return Path(chosen)
    if os.geteuid() == 0:
        return Path("/var/lib/fairway")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "fairway"


def _up(arguments: argparse.Namespace) -> int:
    from fairway.processes import up

    return up.run(arguments)


def _down(arguments: argparse.Namespace) -> int:
    from fairway.processes import down

    return down.run(arguments.state_dir)


def _status(arguments: argparse.Namespace) -> int:
    from fairway.processes import status_command

    return status_command.run(arguments.state_dir)


def _trust(arguments: argparse.Namespace) -> int:
    from fairway.processes import trust_command

    return trust_command.run(arguments)


def _backup(arguments: argparse.Namespace) -> int:
    from fairway.processes import backup

    return backup.back_up(arguments.state_dir, arguments.file)


def _restore(arguments: argparse.Namespace) -> int:
    from fairway.processes import backup

    return backup.restore(arguments.state_dir, arguments.file)


def _registry_token(arguments: argparse.Namespace) -> int:
    from fairway.processes import registry_command

    return registry_command.run(arguments)


def _demo(arguments: argparse.Namespace) -> int:
    from fairway.processes import demo

    return demo.run(arguments)


def _edge_lint(arguments: argparse.Namespace) -> int:
    from fairway.processes import edge_command

    return edge_command.lint(arguments)


def _edge_explain(arguments: argparse.Namespace) -> int:
    from fairway.processes import edge_command

    return edge_command.explain(arguments)


def _run_edge(arguments: argparse.Namespace) -> int:
    from fairway.processes import run_edge

    return run_edge.run(arguments)


def _run_delivery(arguments: argparse.Namespace) -> int:
    from fairway.processes import run_delivery

    return run_delivery.run(arguments)


def _doctor(arguments: argparse.Namespace) -> int:
    from fairway.processes import doctor

    findings = doctor.examine(arguments.state_dir)
    for finding in findings:
        if finding.ok:
            terminal.ok(f"{finding.name}: {finding.found}")
            continue
        (terminal.fail if finding.required else terminal.warn)(f"{finding.name}: {finding.found}")
        print(f"    → {finding.mend}")
    lacking = doctor.missing(findings)
    sys.stdout.flush()
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
