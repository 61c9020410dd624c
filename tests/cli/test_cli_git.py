"""The credential helper, called by the real git, and the settings that make git call it."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from git_work import Work
from live_api import Live, live_api

from fairway.cli import git
from fairway.cli.git import PUSHER
from fairway.delivery.git.access import Caller, Doorkeeper
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import SERVICE_ACCOUNTS, Resource
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

T = TypeVar("T")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
TOKENS = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live_api(tmp_path_factory.mktemp("live")) as live:
        yield live


def ask(api: Live, question: Callable[[ApiClient], Awaitable[T]]) -> T:
    """Put a question to the API."""

    async def run() -> T:
        async with HttpClient(unix_connector(api.socket), host_header="localhost") as http:
            return await question(ApiClient(http))

    return asyncio.run(run())


async def who(client: ApiClient, token: str) -> tuple[str, list[bool]]:
    """Whose token it is, and whether that user may get, update and delete `apps/git`."""
    spec = {"apiVersion": TOKENS.api_version, "kind": TOKENS.kind, "spec": {"token": token}}
    user = (await client.create(TOKENS, spec))["status"]["user"]
    allowed = []
    for verb in ("get", "update", "delete"):
        wanted = {"group": "fairway.dev", "resource": "apps", "subresource": "git", "verb": verb}
        attributes = {**wanted, "namespace": "default", "name": "site"}
        asked = {"user": user["username"], "groups": user["groups"], "resourceAttributes": attributes}
        raw = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind, "spec": asked}
        allowed.append(bool((await client.create(REVIEWS, raw))["status"]["allowed"]))
    return user["username"], allowed


PROGRAM = """#!{python}
import argparse, sys
from fairway.cli import git
parser = argparse.ArgumentParser()
git.add_parser(parser.add_subparsers())
arguments = parser.parse_args()
sys.exit(arguments.run(arguments))
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A command line with nothing but the helper."""
    path = tmp_path / "fairway"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_git_gets_a_token_that_may_push(api: Live, program: Path, tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    base, ca = "https://git.example.com:8443", tmp_path / "ca.crt"
    git.add_remote(
        work.folder, "fairway", f"{base}/default/site.git", ca=ca, kubeconfig=api.kubeconfig, namespace="default"
    )
    assert work.git("config", f"http.{base}.sslCAInfo") == str(ca)
    helper = work.git("config", f"credential.{base}.helper").replace(git.program(), str(program))
    work.git("config", "--replace-all", f"credential.{base}.helper", helper)
    asked = b"protocol=https\nhost=git.example.com:8443\n\n"
    told = dict(line.split("=", 1) for line in work.git("credential", "fill", stdin=asked).splitlines())
    account = git.account_of("kubernetes-admin")
    assert told["username"] == account and account.startswith(f"{PUSHER}-")
    user, allowed = ask(api, lambda client: who(client, told["password"]))
    assert user == f"system:serviceaccount:default:{account}" and allowed == [True, True, False]


def test_every_user_has_an_account_of_its_own_which_says_whose_it_is(api: Live) -> None:
    names = [git.account_of(user) for user in ("alice@corp.com", "alice.corp.com", "Алиса", "x" * 300, "")]
    assert len(set(names)) == 5 and names[-1] == PUSHER
    assert all(re.fullmatch(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", name) for name in names)

    async def behind(client: ApiClient) -> list[str]:
        await git.make_pusher(client, "default", "alice@corp.com")
        doorkeeper, key = Doorkeeper(client, SystemClock()), ObjectKey("default", "site")
        prefix = "system:serviceaccount:default:"
        callers = (
            f"{prefix}{names[0]}",
            f"{prefix}{PUSHER}-gone",
            f"{prefix}ci",
            "bob",
            f"system:serviceaccount:x:{names[0]}",
        )
        return [await doorkeeper.person(Caller(one), key) for one in callers]

    found = ask(api, behind)
    assert found[0] == "alice@corp.com" and found[1].endswith("-gone") and found[2].endswith(":ci")
    assert found[3:] == ["bob", f"system:serviceaccount:x:{names[0]}"]


def test_rights_come_back_when_a_token_was_refused(api: Live, program: Path) -> None:
    async def without_rights(client: ApiClient) -> list[bool]:
        token = await git.token(client, "default")
        await client.delete(ROLES, PUSHER, namespace="default")
        return (await who(client, token))[1]

    async def again(client: ApiClient) -> list[bool]:
        return (await who(client, await git.token(client, "default")))[1]

    assert ask(api, without_rights) == [False, False, False]
    command = [str(program), "git-credential", "--kubeconfig", str(api.kubeconfig), "erase"]
    subprocess.run(command, input=b"protocol=https\n", check=True, timeout=60)
    assert ask(api, again) == [True, True, False]


def test_other_helpers_never_see_a_token(tmp_path: Path) -> None:
    work = Work(tmp_path / "work")
    work.git("config", "credential.helper", "store")
    for _ in range(2):
        git.add_remote(
            work.folder,
            "fairway",
            "https://git.example.com/default/site.git",
            ca=None,
            kubeconfig=tmp_path / "a b" / "config",
            namespace="default",
        )
    base = "https://git.example.com"
    found = work.git("config", "--get-urlmatch", "--null", "credential.helper", base)
    assert found.startswith("!") and f"'{tmp_path}/a b/config'" in found
    assert work.git("config", "--local", "--get-all", f"credential.{base}.helper").count("git-credential") == 1
    assert work.git("remote", "get-url", "fairway") == "https://git.example.com/default/site.git"


def test_a_folder_without_a_repository_is_told(tmp_path: Path) -> None:
    with pytest.raises(git.GitError, match="not a git repository"):
        git.add_remote(
            tmp_path, "fairway", "https://x/y/z.git", ca=None, kubeconfig=tmp_path / "config", namespace="default"
        )


def test_the_account_is_made_once(api: Live) -> None:
    async def twice(client: ApiClient) -> str:
        await git.make_pusher(client, "default", "")
        await git.make_pusher(client, "default", "")
        return str((await client.get(SERVICE_ACCOUNTS, PUSHER, "default"))["metadata"]["name"])

    assert ask(api, twice) == PUSHER
