"""Deliveries that are genuine, and those that are refused: the forges' published examples, and what attackers send."""

import base64
import hashlib
import hmac
from urllib.parse import quote

import pytest

from fairway.delivery.forges.events import Event, event, ignored
from fairway.delivery.forges.providers import Place, place_of, provider_of
from fairway.delivery.forges.seen import Seen
from fairway.delivery.forges.verify import Delivery, forge_of, problem
from fairway.delivery.git.errors import SourceError
from fairway.delivery.kinds.apps import Source
from fairway.kube.api.meta import ObjectKey

GITEE_SECRET, GITEE_STAMP = "this is secret", "1576754827988"
GITEE_SIGN = "2D978FIy4DMMTbiN80zQkNH1Eq/kMBt3gL6OnWfGzzY="
GITHUB_SECRET, GITHUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
GITHUB_SUM = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
STANDARD_SECRET = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="
STANDARD_SIGN = "v1,75NdH3o5C0z89P8wiWR5yKrKWvM98S9PA5O3uZv7kt0="
PUSH = "Push Hook"


def gitee(token: str, stamp: str = GITEE_STAMP, body: bytes = b"{}") -> Delivery:
    return Delivery({"x-gitee-event": PUSH, "x-gitee-token": token, "x-gitee-timestamp": stamp}, body)


def github(signature: str, body: bytes = GITHUB_BODY) -> Delivery:
    return Delivery({"x-github-event": "push", "x-hub-signature-256": signature}, body)


def gitcode(signature: str, body: bytes = GITHUB_BODY, **more: str) -> Delivery:
    return Delivery({"x-gitcode-event": PUSH, "x-gitcode-signature-256": signature, **more}, body)


def standard(signature: str, stamp: str = "1700000000", body: bytes = b"{}") -> Delivery:
    headers = {"x-gitlab-event": PUSH, "webhook-id": "msg_1", "webhook-timestamp": stamp}
    return Delivery({**headers, "webhook-signature": signature}, body)


def gitea(name: str, signature: str) -> Delivery:
    aliases = {"x-github-event": "push", "x-hub-signature-256": "sha256=" + "0" * 64}
    return Delivery({**aliases, f"x-{name}-event": "push", f"x-{name}-signature": signature}, GITHUB_BODY)


@pytest.mark.parametrize(
    ("delivery", "secret", "now", "forge"),
    [
        (gitee(GITEE_SIGN), GITEE_SECRET, 1576754828, "gitee"),
        (gitee(quote(GITEE_SIGN, safe="")), GITEE_SECRET, 1576754828 + 299, "gitee"),
        (gitee("a password", stamp=""), "a password", 0, "gitee"),
        (github(f"sha256={GITHUB_SUM}"), GITHUB_SECRET, 0, "github"),
        (Delivery({"x-gitlab-event": PUSH, "x-gitlab-token": "tok"}, b""), "tok", 0, "gitlab"),
        (standard(STANDARD_SIGN), STANDARD_SECRET, 1700000001, "gitlab"),
        (standard(f"v1a,other v1,AAAA {STANDARD_SIGN}"), STANDARD_SECRET, 1700000001, "gitlab"),
        (gitcode(f"sha256={GITHUB_SUM}"), GITHUB_SECRET, 0, "gitcode"),
        (Delivery({"x-gitcode-event": PUSH, "x-gitcode-token": "tok"}, b""), "tok", 0, "gitcode"),
        (gitea("gitea", GITHUB_SUM), GITHUB_SECRET, 0, "gitea"),
        (gitea("forgejo", GITHUB_SUM), GITHUB_SECRET, 0, "gitea"),
    ],
)
def test_genuine(delivery: Delivery, secret: str, now: float, forge: str) -> None:
    assert forge_of(delivery) == forge
    assert problem(delivery, secret, now) == ""
    assert problem(delivery, "", now) == "the App has no webhook secret"
    assert problem(delivery, "another", now)


@pytest.mark.parametrize(
    ("delivery", "secret", "now", "said"),
    [
        (gitee(""), GITEE_SECRET, 1576754828, "X-Gitee-Token is missing"),
        (gitee("é"), GITEE_SECRET, 1576754828, "neither the password nor the signature"),
        (gitee(GITEE_SIGN), GITEE_SECRET, 1576754828 + 301, "too far from now"),
        (gitee(GITEE_SIGN), GITEE_SECRET, 1576754828 - 301, "too far from now"),
        (gitee(GITEE_SIGN, stamp="1576754827989"), GITEE_SECRET, 1576754828, "neither the password"),
        (github(f"sha256={GITHUB_SUM}", body=b"Hello, World?"), GITHUB_SECRET, 0, "is not of this body"),
        (github(""), GITHUB_SECRET, 0, "is missing"),
        (github(GITHUB_SUM), GITHUB_SECRET, 0, "is not of this body"),
        (Delivery({"x-gitlab-event": PUSH}, b""), "tok", 0, "X-Gitlab-Token is missing"),
        (standard(STANDARD_SIGN, body=b"{ }"), STANDARD_SECRET, 1700000001, "not of this body"),
        (standard(STANDARD_SIGN), STANDARD_SECRET, 1700000301, "too far from now"),
        (standard(STANDARD_SIGN), "whsec_!", 1700000001, "not base64 after whsec_"),
        (standard("v1,"), "whsec_", 1700000001, "empty after whsec_"),
        (gitcode(f"sha256={GITHUB_SUM}", body=b"Hello, World?"), GITHUB_SECRET, 0, "is not of this body"),
        (gitcode("sha256=0", **{"x-gitcode-token": "tok"}), "tok", 0, "is not of this body"),
        (Delivery({"x-gitcode-event": PUSH}, b""), "tok", 0, "X-GitCode-Signature-256 is missing"),
        (Delivery({"x-gitcode-event": PUSH, "x-gitcode-token": "other"}, b""), "tok", 0, "is not the secret"),
        (gitea("gitea", ""), GITHUB_SECRET, 0, "x-gitea-signature is missing"),
        (Delivery({"content-type": "application/json"}, b"{}"), "tok", 0, "no forge is known"),
    ],
)
def test_refused(delivery: Delivery, secret: str, now: float, said: str) -> None:
    assert said in problem(delivery, secret, now)


def test_a_wider_window_has_its_limit() -> None:
    assert problem(gitee(GITEE_SIGN), GITEE_SECRET, 1576754828 + 3500, 1e9) == ""
    assert "too far" in problem(gitee(GITEE_SIGN), GITEE_SECRET, 1576754828 + 3700, 1e9)
    odd = base64.b64encode(hmac.new(b"s", b"\xc2\xb2\ns", hashlib.sha256).digest()).decode()
    assert "not a number" in problem(gitee(odd, stamp="²"), "s", 0)


def test_what_a_push_says() -> None:
    body = b'{"ref": "refs/heads/a/b", "after": "12", "pusher": {"name": "Ann\\u001b[0m"}, "project_id": 7}'
    found = event(Delivery({"x-github-event": "push", "x-github-delivery": "d1"}, body))
    assert found == Event("d1", is_push=True, branch="a/b", actor="Ann [0m", repository_id="7")
    assert ignored(found, "a/b") == "" and ignored(found, "main") == "the App is made from branch main"
    gone = event(Delivery({"x-gitee-event": PUSH}, b'{"ref": "refs/heads/main", "after": "0000"}'))
    assert gone is not None and ignored(gone, "main") == "the branch was deleted" and len(gone.id) == 64
    ping = event(Delivery({"x-github-event": "ping"}, b'{"zen": "."}'))
    assert ping is not None and ignored(ping, "main") == "only pushes matter here"
    tag = event(Delivery({"x-gitlab-event": "Tag Push Hook"}, b'{"ref": "refs/tags/main"}'))
    assert tag is not None and ignored(tag, "main")
    bodies = (b"[]", b"", b"\xff", b"payload=%7B%7D", b"[" * 100000)
    assert [event(Delivery({}, body)) for body in bodies] == [None] * 5


def test_a_delivery_counts_once_and_the_table_is_bounded() -> None:
    seen, app = Seen(kept_max=2), ObjectKey("a", "b")
    assert [seen.add(app, one) for one in ("1", "1", "2", "3", "1")] == [True, False, True, True, True]
    assert seen.add(ObjectKey("a", "c"), "1")


@pytest.mark.parametrize(
    ("source", "place"),
    [
        (("https://gitcode.com/a/b.git", "", ""), Place("gitcode", "https://api.gitcode.com/api/v5", "a/b")),
        (("https://gitee.com/team/site", "", ""), Place("gitee", "https://gitee.com/api/v5", "team/site")),
        (("https://github.com/team/site.git", "", ""), Place("github", "https://api.github.com", "team/site")),
        (("https://gitlab.com/a/b/c.git", "", ""), Place("gitlab", "https://gitlab.com/api/v4", "a%2Fb%2Fc")),
        (("https://codeberg.org/a/b", "", ""), Place("forgejo", "https://codeberg.org/api/v1", "a/b")),
        (("https://git.corp.com:8443/a/b", "gitea", ""), Place("gitea", "https://git.corp.com:8443/api/v1", "a/b")),
        (("https://x.com/a/b", "gitlab", "https://y.com/api/"), Place("gitlab", "https://y.com/api", "a%2Fb")),
        (("https://git.corp.com/a/b", "", ""), None),
    ],
)
def test_where_the_api_is(source: tuple[str, str, str], place: Place | None) -> None:
    made = Source(repository=source[0], provider=source[1], api_url=source[2])
    assert place_of(made) == place and provider_of(made) == (place.provider if place else "git")


def test_a_repository_without_owner_is_refused() -> None:
    with pytest.raises(SourceError, match=r"is not like https://HOST/OWNER/NAME\.git"):
        place_of(Source(repository="https://github.com/site"))
