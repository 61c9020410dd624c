"""One request to a resource, with everything that endpoints need to answer it."""

import msgspec

from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.endpoints.queries import Query
from fairway.engine.apiserver.endpoints.routes import Target
from fairway.engine.apiserver.resources import Kind
from fairway.toolkit.http_messages import Request


class Call(msgspec.Struct, frozen=True):
    """`verb` is in API words: get, list, watch, create, update, patch, delete, deletecollection."""

    request: Request
    target: Target
    kind: Kind
    verb: str
    query: Query
    user: User

    @property
    def namespace(self) -> str:
        return self.target.namespace or ""


def verb_of(method: str, target: Target, query: Query) -> str:
    """The API's word for a method on a target; an empty string when there is none."""
    named = bool(target.name)
    match method:
        case "GET" | "HEAD":
            watching = target.watch or query.get("watch", "0").lower() not in ("0", "false")
            if named and not target.watch:
                return "get" if not (watching and not target.subresource) else "watch"
            return "watch" if watching else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if named else "deletecollection"
    return ""
