"""What can go wrong with a source.

SourceError      a person can do something about it; the text says what
GitFailed        a git process ended badly: the world's failure
"""

_TEXT_MAX = 300


class SourceError(Exception):
    """Commits cannot be had, or not be used. The message is for people: no credential, no control character."""


class GitFailed(Exception):
    """A git process failed, was too slow or wrote too much. `stderr` is git's own text, untrusted."""

    def __init__(self, what: str, stderr: str = "") -> None:
        super().__init__(f"{what}: {printable(stderr)[:_TEXT_MAX]}" if stderr else what)
        self.stderr = stderr


def printable(text: str) -> str:
    """One line without control, formatting and direction-changing characters, which could forge a terminal's text."""
    return "".join(char if char.isprintable() else " " for char in text).strip()
