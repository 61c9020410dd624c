"""The command line of apps: which words there are."""

import argparse
import re
from pathlib import Path

from fairway.cli.delivery import apps, create, deploy, export, logs, pipelines, releases
from fairway.cli.delivery.cluster import Verb, command, options

_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_NAME_LENGTH_MAX = 40
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*")


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", state_dir: Path) -> None:
    """Add `app`, `deploy`, `releases`, `rollback`, `promote`, `pipelines`, `logs`, `scale`, `env`, `open`, `export`."""
    app = commands.add_parser("app", help="create, list, show and delete apps", description="Apps.")
    verbs = app.add_subparsers(metavar="VERB", required=True)
    _create(_verb(verbs, "create", "write an App: a name, a repository, a domain", create.create, state_dir))
    listing = _verb(verbs, "list", "a line for each app", apps.list_, state_dir)
    listing.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    _named(_verb(verbs, "show", "everything about one app", apps.show, state_dir))
    _named(_verb(verbs, "remote", "add a git remote for an app to the repository here", deploy.add_remote, state_dir))
    deleting = _named(_verb(verbs, "delete", "remove an app and what it runs", apps.delete, state_dir))
    deleting.add_argument("--yes", action="store_true", help="do not ask")
    _deploy(_verb(commands, "deploy", "send a folder and watch it go live", deploy.deploy, state_dir))
    _where(_named(_verb(commands, "releases", "what was and is live", releases.list_, state_dir)))
    _releases(commands, state_dir)
    _pipelines(
        _verb(commands, "pipelines", "the runs of an app: list, logs, cancel, retry", pipelines.pipelines, state_dir)
    )
    _logs(_where(_named(_verb(commands, "logs", "what an app's pods print", logs.logs, state_dir))))
    scaling = _named(_verb(commands, "scale", "another number of replicas", apps.scale, state_dir))
    scaling.add_argument("replicas", type=_count, metavar="N")
    _where(scaling)
    _env(_verb(commands, "env", "show and change variables and secrets", apps.env, state_dir))
    _where(_named(_verb(commands, "open", "an app in the browser", apps.open_, state_dir)))
    _export(_verb(commands, "export", "an app as plain files, to take away", export.export, state_dir))


def app_name(text: str) -> str:
    """The name of an App as its kind allows it; "" stands for none. Raises ArgumentTypeError."""
    if text and (len(text) > _NAME_LENGTH_MAX or not _NAME.fullmatch(text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name of an App: it begins with a letter, has a-z, 0-9 and - in it, "
            f"and at most {_NAME_LENGTH_MAX} characters"
        )
    return text


def host_name(text: str) -> str:
    """A domain as people paste it: with a scheme, a slash, capitals. Raises ArgumentTypeError."""
    bare = text.strip().lower().rstrip("/").removeprefix("https://").removeprefix("http://").rstrip(".")
    try:
        bare = bare.encode("idna").decode() if not bare.isascii() else bare
    except UnicodeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no host name: {error}") from error
    if not _HOST.fullmatch(bare):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no host name: write it without port and path, like site.example.com"
        )
    return bare


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 on")
    return int(text)


def _verb(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    summary: str,
    verb: Verb,
    state_dir: Path,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
    options(parser, state_dir)
    parser.set_defaults(run=command(verb))
    return parser


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("name", metavar="APP", type=app_name)
    return parser


def _where(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("-e", "--environment", default="", metavar="ENV", help="default: production")
    return parser


def _create(parser: argparse.ArgumentParser) -> None:
    _named(parser)
    parser.add_argument("--repo", default="", metavar="URL", help="where the code is; without it, push here")
    parser.add_argument("--branch", default="", metavar="NAME", help="default: main")
    parser.add_argument("--path", default="", metavar="DIR", help="the folder in the repository that holds the app")
    parser.add_argument("--credentials", default="", metavar="SECRET", help="a Secret with a token for the repository")
    parser.add_argument("--domain", action="append", default=[], type=host_name, metavar="HOST", help="may repeat")
    parser.add_argument("--strategy", default="", choices=("auto", "static", "dockerfile", "pipeline", "image"))
    parser.add_argument("--build-command", default="", metavar="CMD", help="instead of what is detected")
    parser.add_argument("--output", default="", metavar="DIR", help="the folder that the build makes")
    parser.add_argument("--image", default="", metavar="NAME", help="to build in; with --strategy image, to run")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="that the program listens on")
    parser.add_argument("--replicas", type=int, default=1, metavar="N")
    parser.add_argument("--remote", action="store_true", help="add a git remote `fairway` to the repository here")
    parser.add_argument("--dry-run", action="store_true", help="print the App and write nothing")


def _deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="default: this one")
    parser.add_argument("--app", default="", type=app_name, metavar="APP", help="default: the folder's name")
    parser.add_argument(
        "--domain", action="append", default=[], type=host_name, metavar="HOST", help="when the app is new"
    )


def _releases(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", state_dir: Path) -> None:
    back = _where(_named(_verb(commands, "rollback", "go back to an earlier release", releases.rollback, state_dir)))
    back.add_argument("to", nargs="?", default="", metavar="vN", help="default: the last good one before this")
    forward = _named(_verb(commands, "promote", "take a release to the next environment", releases.promote, state_dir))
    forward.add_argument("--to", default="", metavar="ENV", help="default: production")
    forward.add_argument("--from", dest="source", default="", metavar="ENV", help="default: the one before")
    for parser in (back, forward):
        parser.add_argument("--no-wait", action="store_true", help="do not wait until it is live")


def _pipelines(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", type=app_name, metavar="APP", help="default: all")
    parser.add_argument("verb", nargs="?", default="list", choices=pipelines.VERBS)
    parser.add_argument("number", nargs="?", default="", metavar="N", help="of the run; default: the newest")
    parser.add_argument("-f", "--follow", action="store_true", help="until the run ends")


def _logs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on as they come")
    parser.add_argument("--tail", type=_count, default=100, metavar="N", help="lines of each pod (default 100)")
    parser.add_argument("--previous", action="store_true", help="of containers that ended")


def _env(parser: argparse.ArgumentParser) -> None:
    _where(_named(parser))
    parser.add_argument("set", nargs="*", default=[], metavar="NAME=VALUE", help="with --secret: NAME alone")
    parser.add_argument("--unset", action="append", default=[], metavar="NAME")
    parser.add_argument("--secret", action="store_true", help="values are asked for, or read from standard input")


def _export(parser: argparse.ArgumentParser) -> None:
    _where(_named(parser))
    parser.add_argument("--format", default="manifests", choices=("manifests", "kustomize", "helm"))
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: standard output (manifests only)")
    parser.add_argument("--with-secrets", action="store_true", help="secret values, too; without it only their names")
