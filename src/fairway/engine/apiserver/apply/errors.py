"""Why a patch or an apply was refused.

Exception
├── PatchError      the patch cannot be read, or does not fit the object
└── Conflict        other managers own what an apply would change
"""

from msgspec import Struct


class PatchError(Exception):
    """A patch that cannot be applied; `code` is the HTTP status upstream gives it (400, 413 or 422)."""

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class ConflictCause(Struct, frozen=True):
    """One field that another manager owns: `message` names the manager, `field` is a path such as `.spec.replicas`."""

    reason: str
    message: str
    field: str


class Conflict(Exception):
    """A server-side apply that would take fields from other managers: 409, reason Conflict, with these causes."""

    def __init__(self, message: str, causes: tuple[ConflictCause, ...]) -> None:
        super().__init__(message)
        self.message = message
        self.causes = causes
