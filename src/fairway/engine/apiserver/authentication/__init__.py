"""Request to user: by the Unix socket, by client certificate."""

from fairway.engine.apiserver.authentication.authenticators import LOCAL_LISTENER as LOCAL_LISTENER
from fairway.engine.apiserver.authentication.authenticators import authenticate as authenticate
from fairway.engine.apiserver.authentication.users import ANONYMOUS as ANONYMOUS
from fairway.engine.apiserver.authentication.users import LOCAL as LOCAL
from fairway.engine.apiserver.authentication.users import MASTERS as MASTERS
from fairway.engine.apiserver.authentication.users import User as User
