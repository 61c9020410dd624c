"""Request to user: by the Unix socket, by client certificate, by ServiceAccount token."""

from fairway.engine.apiserver.authentication.authenticators import AUTHENTICATORS as AUTHENTICATORS
from fairway.engine.apiserver.authentication.authenticators import LOCAL_LISTENER as LOCAL_LISTENER
from fairway.engine.apiserver.authentication.authenticators import Authenticator as Authenticator
from fairway.engine.apiserver.authentication.authenticators import authenticate as authenticate
from fairway.engine.apiserver.authentication.authenticators import by_token as by_token
from fairway.engine.apiserver.authentication.tokens import InvalidToken as InvalidToken
from fairway.engine.apiserver.authentication.tokens import Tokens as Tokens
from fairway.engine.apiserver.authentication.users import ANONYMOUS as ANONYMOUS
from fairway.engine.apiserver.authentication.users import LOCAL as LOCAL
from fairway.engine.apiserver.authentication.users import MASTERS as MASTERS
from fairway.engine.apiserver.authentication.users import User as User
