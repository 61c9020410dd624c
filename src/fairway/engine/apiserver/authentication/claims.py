"""What a ServiceAccount token says: JSON Web Tokens (RFC 7519) with the claims of KEP-1205."""

import msgspec

from fairway.engine.apiserver.authentication.keys import SigningKeys, decode64, encode64

_BYTES_MAX = 16 * 1024


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object by name and identity."""

    name: str = ""
    uid: str = ""


class Bound(msgspec.Struct, frozen=True, omit_defaults=True, rename={"warn_after": "warnafter"}):
    """The claim `kubernetes.io`: the account, and the objects that the token lives and dies with."""

    namespace: str = ""
    node: Reference | None = None
    pod: Reference | None = None
    secret: Reference | None = None
    serviceaccount: Reference = Reference()
    warn_after: int = 0


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """All claims of a bound token. Times are Unix seconds."""

    aud: tuple[str, ...] = ()
    exp: int = 0
    iat: int = 0
    iss: str = ""
    jti: str = ""
    bound: Bound = msgspec.field(name="kubernetes.io", default=Bound())
    nbf: int = 0
    sub: str = ""


class LegacyClaims(msgspec.Struct, frozen=True):
    """The claims of a token that lives in a Secret and has no end."""

    iss: str = "kubernetes/serviceaccount"
    namespace: str = msgspec.field(name="kubernetes.io/serviceaccount/namespace", default="")
    secret: str = msgspec.field(name="kubernetes.io/serviceaccount/secret.name", default="")
    account: str = msgspec.field(name="kubernetes.io/serviceaccount/service-account.name", default="")
    account_uid: str = msgspec.field(name="kubernetes.io/serviceaccount/service-account.uid", default="")
    sub: str = ""


class _Header(msgspec.Struct, frozen=True):
    alg: str = ""
    kid: str = ""


class _Issuer(msgspec.Struct, frozen=True):
    iss: str = ""


LEGACY_ISSUER = "kubernetes/serviceaccount"


def signed(keys: SigningKeys, claims: Claims | LegacyClaims) -> str:
    """The token."""
    parts = (msgspec.json.encode(_Header("ES256", keys.key_id)), msgspec.json.encode(claims))
    text = ".".join(encode64(part) for part in parts)
    return f"{text}.{encode64(keys.sign(text.encode()))}"


def verified(keys: SigningKeys, token: str) -> Claims | LegacyClaims:
    """What a token with a good signature says; times and audiences are not looked at. Raises ValueError."""
    if len(token) > _BYTES_MAX or token.count(".") != 2:
        raise ValueError("not a JSON Web Token")
    text, _, signature = token.rpartition(".")
    head, _, body = text.partition(".")
    header = msgspec.json.decode(decode64(head), type=_Header)
    if header.alg != "ES256" or not keys.verify(header.kid, decode64(signature), text.encode()):
        raise ValueError("the signature is not one of this server's")
    content = decode64(body)
    if msgspec.json.decode(content, type=_Issuer).iss == LEGACY_ISSUER:
        return msgspec.json.decode(content, type=LegacyClaims)
    return msgspec.json.decode(content, type=Claims)
