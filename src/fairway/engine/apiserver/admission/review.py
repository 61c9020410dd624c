"""What an admission plugin looks at."""

import msgspec

from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.errors import Subject
from fairway.engine.apiserver.store import Key, Store
from fairway.engine.apiserver.store.entries import Object

CREATE, UPDATE, DELETE = "CREATE", "UPDATE", "DELETE"


class Review(msgspec.Struct, frozen=True):
    """One write about to happen. Plugins may change `obj` in place (None on delete); `old` is None on create."""

    operation: str
    key: Key
    subject: Subject
    subresource: str
    obj: Object | None
    old: Object | None
    user: User
    store: Store
    """To read other objects, with `latest` where a decision must not race with writes on their way."""
