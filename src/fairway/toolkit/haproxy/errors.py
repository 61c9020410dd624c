"""What can go wrong with HAProxy.

HaproxyError
├── HaproxyMissing       no binary that can be used
├── ConfigRefused        it does not start with this configuration
├── CommandRefused       it runs, but does not do as told
└── SocketUnreachable    nobody answers on the runtime socket
"""


class HaproxyError(Exception):
    """Anything that HAProxy would not do."""


class HaproxyMissing(HaproxyError):
    """No usable binary; the message holds the command that mends it."""


class ConfigRefused(HaproxyError):
    """The new process did not start; an old one goes on serving. The message holds HAProxy's own words."""


class CommandRefused(HaproxyError):
    """A command had another answer than success."""

    def __init__(self, command: str, answer: str) -> None:
        # Only the first words of a command: the rest may be a private key.
        super().__init__(f"{' '.join(command.split()[:4])}: {answer}")
        self.answer = answer


class SocketUnreachable(HaproxyError):
    """No connection, or no answer in time."""
