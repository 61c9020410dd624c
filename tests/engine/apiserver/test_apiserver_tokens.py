"""ServiceAccount tokens: asked for, shown, reviewed, bound, worth nothing when what they are bound to is gone."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from fairway.engine.apiserver.authentication.keys import load

BASE = "/api/v1/namespaces/default"
REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ISSUER = "https://kubernetes.default.svc.cluster.local"
USER = "system:serviceaccount:default:default"


async def token(api: Any, account: str = "default", **spec: Any) -> str:
    answer = await api.create(f"{BASE}/serviceaccounts/{account}/token", {"spec": spec})
    return str(answer["status"]["token"])


async def review(api: Any, text: str, *audiences: str) -> Any:
    return (await api.create(REVIEWS, {"spec": {"token": text, "audiences": list(audiences)}}))["status"]


def claims(text: str) -> Any:
    return json.loads(decode(text.split(".")[1]))


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


async def pod(api: Any, name: str = "p", **spec: Any) -> Any:
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}
    return await api.create(f"{BASE}/pods", body)


def bound(obj: Any, kind: str = "Pod") -> dict[str, str]:
    return {"apiVersion": "v1", "kind": kind, "name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}


async def test_a_token_says_who_it_is(api: Any) -> None:
    answer = await api.create(f"{BASE}/serviceaccounts/default/token", {"spec": {"expirationSeconds": 600}})
    assert (answer["kind"], answer["apiVersion"]) == ("TokenRequest", "authentication.k8s.io/v1")
    assert answer["spec"] == {"audiences": [ISSUER], "expirationSeconds": 600, "boundObjectRef": None}
    assert answer["status"]["expirationTimestamp"] == "2026-01-01T00:10:00Z"
    said = claims(answer["status"]["token"])
    account = await api.get(f"{BASE}/serviceaccounts/default")
    assert said.pop("jti")
    assert said == {
        "aud": [ISSUER],
        "exp": said["iat"] + 600,
        "iat": said["nbf"],
        "iss": ISSUER,
        "kubernetes.io": {
            "namespace": "default",
            "serviceaccount": {"name": "default", "uid": account["metadata"]["uid"]},
        },
        "nbf": said["nbf"],
        "sub": USER,
    }
    status = await review(api, answer["status"]["token"])
    assert status["authenticated"] is True
    assert status["audiences"] == [ISSUER]
    user = status["user"]
    assert (user["username"], user["uid"]) == (USER, account["metadata"]["uid"])
    assert user["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]


async def test_audiences_must_meet(api: Any) -> None:
    vault = await token(api, audiences=["vault", "other"])
    assert (await review(api, vault))["error"] == "token audiences is invalid for the target audiences"
    assert (await review(api, vault, "x", "vault"))["audiences"] == ["vault"]


async def test_a_mounted_token_lives_longer_than_it_says(api: Any) -> None:
    made = await pod(api, nodeName="n1")
    said = claims(await token(api, expirationSeconds=3607, boundObjectRef=bound(made)))
    inner = said["kubernetes.io"]
    assert inner["pod"] == {"name": "p", "uid": made["metadata"]["uid"]}
    assert inner["node"] == {"name": "n1"}
    assert (said["exp"] - said["iat"], inner["warnafter"] - said["iat"]) == (365 * 24 * 3600, 3607)
    status = await review(api, await token(api, boundObjectRef=bound(made)))
    extra = status["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")


@pytest.mark.parametrize("what", ["pods/p", "serviceaccounts/default", "secrets/s"])
async def test_a_token_dies_with_what_it_is_bound_to(api: Any, what: str) -> None:
    made = await api.create(f"{BASE}/secrets", {"metadata": {"name": "s"}}) if "secret" in what else await pod(api)
    text = await token(api, boundObjectRef=bound(made, made["kind"]))
    assert (await review(api, text))["authenticated"] is True
    await api.delete(f"{BASE}/{what}")
    await api.clock.advance(120)
    status = await review(api, text)
    assert status == {"user": {}, "error": "service account token has been invalidated"}
    if what == "serviceaccounts/default":
        await api.create(f"{BASE}/serviceaccounts", {"metadata": {"name": "default"}})
        assert "error" in await review(api, text), "an account of the same name is another one"


async def test_a_token_ends(api: Any) -> None:
    text = await token(api, expirationSeconds=600)
    await api.clock.advance(599)
    assert (await review(api, text))["authenticated"] is True
    await api.clock.advance(2)
    assert (await review(api, text))["error"] == "service account token has expired"


@pytest.mark.parametrize(
    ("spec", "status", "message"),
    [
        (
            {"expirationSeconds": 599},
            422,
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less",
        ),
        ({"expirationSeconds": 1 << 33}, 422, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "no"}}, 404, 'pods "no" not found'),
        ({"boundObjectRef": {"kind": "Job", "apiVersion": "batch/v1"}}, 400, "cannot bind token to object of type"),
        (
            {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "x"}},
            409,
            "the UID in the bound object reference (x) does not match the UID in record",
        ),
    ],
)
async def test_requests_that_are_refused(api: Any, spec: Any, status: int, message: str) -> None:
    await pod(api)
    answer = await api.call("POST", f"{BASE}/serviceaccounts/default/token", {"spec": spec})
    assert answer.status == status
    assert message in answer.message


async def test_a_token_for_another_account_s_pod(api: Any) -> None:
    await api.create(f"{BASE}/serviceaccounts", {"metadata": {"name": "robot"}})
    made = await pod(api)
    answer = await api.call("POST", f"{BASE}/serviceaccounts/robot/token", {"spec": {"boundObjectRef": bound(made)}})
    assert (answer.status, "different serviceaccount name" in answer.message) == (400, True)
    missing = await api.call("POST", f"{BASE}/serviceaccounts/nobody/token", {"spec": {}})
    assert missing.message == 'serviceaccounts "nobody" not found'


@pytest.mark.parametrize("change", ["signature", "claims", "algorithm", "garbage", "long"])
async def test_forged_tokens(api: Any, change: str) -> None:
    head, body, signature = (await token(api)).split(".")
    match change:
        case "signature":
            signature = signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBB")
        case "claims":
            other = {**json.loads(decode(body)), "sub": "system:admin"}
            body = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
        case "algorithm":
            none = {**json.loads(decode(head)), "alg": "none"}
            head, signature = base64.urlsafe_b64encode(json.dumps(none).encode()).decode().rstrip("="), ""
        case "garbage":
            head, body, signature = "ü", "..", "\0"
        case "long":
            body = body * 1000
    assert "authenticated" not in await review(api, f"{head}.{body}.{signature}")


async def test_no_token_no_review(api: Any) -> None:
    answer = await api.call("POST", REVIEWS, {"spec": {}})
    assert (answer.status, answer.message) == (400, "token is required for TokenReview in authentication")


async def test_bearer_tokens_over_tls(secure: Any) -> None:
    async with secure.client("admin", "system:masters") as admin:
        path = f"{BASE}/serviceaccounts/default/token"
        response = await admin.request("POST", path, body=b"{}")
        text = json.loads(await response.read())["status"]["token"]

    async def ask(header: str) -> tuple[int, Any]:
        async with secure.client() as client:
            response = await client.request("GET", f"{BASE}/pods", headers=[("Authorization", header)])
            return response.status, json.loads(await response.read())

    status, body = await ask(f"Bearer {text}")
    assert (status, body["message"].startswith(f'pods is forbidden: User "{USER}" cannot list')) == (403, True)
    for wrong in (f"Bearer {text}x", "Bearer nonsense", "Basic dTpw"):
        assert (await ask(wrong))[0] == 401


async def test_others_can_verify_tokens(api: Any) -> None:
    """What a relying party does with the discovery documents (OpenID Connect Discovery 1.0)."""
    found = await api.get("/.well-known/openid-configuration")
    assert (found["issuer"], found["id_token_signing_alg_values_supported"]) == (ISSUER, ["ES256"])
    assert found["jwks_uri"].endswith("/openid/v1/jwks")
    answer = await api.call("GET", "/openid/v1/jwks")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    text = await token(api)
    head, _, _ = text.partition(".")
    (key,) = [key for key in answer.json["keys"] if key["kid"] == json.loads(decode(head))["kid"]]
    x, y = (int.from_bytes(decode(key[name]), "big") for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    content, _, signature = text.rpartition(".")
    raw = decode(signature)
    halves = (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    public.verify(utils.encode_dss_signature(*halves), content.encode(), ec.ECDSA(hashes.SHA256()))


def test_keys_are_kept_and_may_be_replaced(tmp_path: Any) -> None:
    path, other = tmp_path / "sa.key", tmp_path / "other.key"
    first = load(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(path).key_id == first.key_id
    second = load(other)
    path.write_bytes(other.read_bytes() + path.read_bytes())
    both = load(path)
    assert both.key_id == second.key_id
    assert both.verify(first.key_id, first.sign(b"x"), b"x")
    assert not both.verify(first.key_id, first.sign(b"x"), b"y")
    assert {key.kid for key in both.public()} == {first.key_id, second.key_id}
    path.write_text("nothing")
    with pytest.raises(ValueError, match="must hold EC keys"):
        load(path)


async def test_secrets_with_tokens(api: Any) -> None:
    annotations = {"kubernetes.io/service-account.name": "default"}
    body = {"metadata": {"name": "t", "annotations": annotations}, "type": "kubernetes.io/service-account-token"}
    made = await api.create(f"{BASE}/secrets", body)
    text = base64.b64decode(made["data"]["token"]).decode()
    assert base64.b64decode(made["data"]["namespace"]) == b"default"
    status = await review(api, text)
    assert status["user"]["username"] == USER
    again = await api.put(f"{BASE}/secrets/t", made)
    assert again["data"] == made["data"]
    await api.delete(f"{BASE}/secrets/t")
    assert (await review(api, text))["error"] == "service account token has been invalidated"


# --- what pods get


async def test_pods_get_their_account_and_its_token(api: Any) -> None:
    made = await pod(api, initContainers=[{"name": "i", "image": "i"}])
    spec = made["spec"]
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
    (volume,) = spec["volumes"]
    assert volume["name"].startswith("kube-api-access-")
    assert volume["projected"] == {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [
                        {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
                    ]
                }
            },
        ],
        "defaultMode": 420,
    }
    mount = {"name": volume["name"], "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    assert [container["volumeMounts"] for container in (*spec["initContainers"], *spec["containers"])] == [[mount]] * 2


@pytest.mark.parametrize(
    ("account", "own", "mounted"),
    [(None, None, True), (False, None, False), (False, True, True), (True, False, False)],
)
async def test_who_wants_no_token_gets_none(api: Any, account: bool | None, own: bool | None, mounted: bool) -> None:
    await api.create(f"{BASE}/serviceaccounts", {"metadata": {"name": "a"}, "automountServiceAccountToken": account})
    made = await pod(api, serviceAccountName="a", automountServiceAccountToken=own)
    assert bool(made["spec"].get("volumes")) is mounted


async def test_pull_secrets_come_from_the_account(api: Any) -> None:
    secrets = [{"name": "registry"}]
    await api.create(f"{BASE}/serviceaccounts", {"metadata": {"name": "a"}, "imagePullSecrets": secrets})
    assert (await pod(api, serviceAccountName="a"))["spec"]["imagePullSecrets"] == secrets
    own = await pod(api, "q", serviceAccountName="a", imagePullSecrets=[{"name": "own"}])
    assert own["spec"]["imagePullSecrets"] == [{"name": "own"}]


async def test_a_missing_account_refuses_the_pod(api: Any) -> None:
    body = {
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": "no", "containers": [{"name": "c", "image": "i"}]},
    }
    answer = await api.call("POST", f"{BASE}/pods", body)
    assert (answer.status, answer.message) == (
        403,
        'pods "p" is forbidden: error looking up service account default/no: serviceaccount "no" not found',
    )


async def test_a_new_namespace_takes_pods_at_once(api: Any) -> None:
    await api.create("/api/v1/namespaces", {"metadata": {"name": "fresh"}})
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    await api.create("/api/v1/namespaces/fresh/pods", body)
