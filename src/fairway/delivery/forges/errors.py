"""What can go wrong with a forge's API.

ForgeError          it will not work until somebody changes something: 401, 403, 404, 422
└── ForgeBusy       it may work later: 429, 5xx, no answer; `again_seconds` is when
"""


class ForgeError(Exception):
    """A person can do something about it; the message says what, and holds no credential."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class ForgeBusy(ForgeError):
    """The forge cannot answer now."""

    def __init__(self, message: str, status: int = 0, again_seconds: float = 60.0) -> None:
        super().__init__(message, status)
        self.again_seconds = again_seconds
