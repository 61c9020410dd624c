"""From a request to its user: each authenticator knows one kind of proof, the first that finds its own decides."""

from collections.abc import Callable, Sequence

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.authentication.tokens import InvalidToken, Tokens
from fairway.engine.apiserver.authentication.users import ANONYMOUS, AUTHENTICATED, LOCAL, User
from fairway.toolkit.http_messages import Request

Authenticator = Callable[[Request], User | None]
"""The user, or None when the request shows nothing that this authenticator could judge. Raises ApiError 401."""

LOCAL_LISTENER = "local"


def by_local_socket(request: Request) -> User | None:
    """The file permissions of the Unix socket are the proof."""
    return LOCAL if request.peer.listener == LOCAL_LISTENER else None


def by_client_certificate(request: Request) -> User | None:
    """A verified certificate: common name = user, organizations = groups."""
    subject = request.peer.subject
    if subject is None:
        return None
    names = [value for key, value in subject if key == "commonName"]
    groups = tuple(value for key, value in subject if key == "organizationName")
    return User(names[-1], (*groups, AUTHENTICATED)) if names and names[-1] else None


AUTHENTICATORS: tuple[Authenticator, ...] = (by_local_socket, by_client_certificate)


def by_token(tokens: Tokens) -> Authenticator:
    """Bearer tokens in the Authorization header, as RFC 6750 describes them."""

    def authenticator(request: Request) -> User | None:
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, token = header.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            return None
        try:
            return tokens.user(token.strip())
        except InvalidToken as error:
            raise errors.unauthorized() from error

    return authenticator


def authenticate(request: Request, authenticators: Sequence[Authenticator] = AUTHENTICATORS) -> User:
    """The user of a request; ANONYMOUS when it shows no proof at all. Raises ApiError 401 for a proof that is wrong."""
    for authenticator in authenticators:
        user = authenticator(request)
        if user is not None:
            return user
    return ANONYMOUS
