"""What can go wrong with a source.

SourceError      a person can do something about it; the text says what
GitFailed        a git process ended badly: the world's failure
"""

import errno

_TEXT_MAX = 300


class SourceError(Exception):
    """Commits cannot be had, or not be used. The message is for people: no credential, no control character."""


class GitFailed(Exception):
    """A git process failed, was too slow or wrote too much. `stderr` is git's own text, untrusted."""

    def __init__(self, what: str, stderr: str = "") -> None:
        super().__init__(f"{what}: {printable(stderr)[:_TEXT_MAX]}" if stderr else what)
        self.stderr = stderr


class TookTooLong(GitFailed):
    """It was ended because its time was over."""


def printable(text: str) -> str:
    """One line without control, formatting and direction-changing characters, which could forge a terminal's text."""
    return "".join(char if char.isprintable() else " " for char in text).strip()


def is_full(error: OSError) -> bool:
    """Whether it is a disk that has no room, or a share of one."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_text(error: OSError, what: str) -> str:
    """What people are told of a disk that fails: never where something is on this machine."""
    where = f"the disk on which the platform keeps {what}"
    return (
        f"{where} is full; somebody must free some of it" if is_full(error) else f"{where}: {error.strerror or error}"
    )


FULL = disk_text(OSError(errno.ENOSPC, ""), "git repositories")
"""For what only git itself has said."""
