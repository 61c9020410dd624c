"""What a client may say about a write besides the object."""

import msgspec

from fairway.engine.apiserver.authentication import LOCAL, User

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
BACKGROUND, FOREGROUND, ORPHAN = "Background", "Foreground", "Orphan"


class WriteOptions(msgspec.Struct, frozen=True):
    """Options of create, update and patch. `force` belongs to server-side apply alone."""

    user: User = LOCAL
    dry_run: bool = False
    field_manager: str = "unknown"
    field_validation: str = WARN
    force: bool = False


class DeleteOptions(msgspec.Struct, frozen=True):
    """Options of delete; None where the client said nothing. `uid` and `revision` are preconditions."""

    user: User = LOCAL
    dry_run: bool = False
    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    uid: str | None = None
    revision: str | None = None
