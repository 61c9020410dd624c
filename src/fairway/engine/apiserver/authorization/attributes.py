"""What a request wants to do, as far as permission is concerned."""

import msgspec

from fairway.engine.apiserver.authentication import User


class Attributes(msgspec.Struct, frozen=True):
    """A resource request has a `resource`; any other has only a `path`. The verb is in API words (`list`, not GET)."""

    user: User
    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
