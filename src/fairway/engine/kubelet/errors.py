"""Why a pod cannot go on, in words for its status and events.

PodProblem
├── StartRefused    a container: reason as in `state.waiting.reason`
├── VolumeProblem   a volume: becomes a FailedMount event
│   └── VolumePending   it will come by itself: no event
└── SandboxProblem  the sandbox: becomes a FailedCreatePodSandBox event
"""


class PodProblem(Exception):
    """A pod cannot go on; the message names the field, the value and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class StartRefused(PodProblem):
    """One container cannot be started now; it is tried again after `retry_seconds`."""

    def __init__(self, reason: str, message: str, retry_seconds: float = 10.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_seconds = retry_seconds


class VolumeProblem(PodProblem):
    """One volume cannot be set up."""

    def __init__(self, volume: str, message: str) -> None:
        super().__init__(message)
        self.volume = volume


class VolumePending(VolumeProblem):
    """One volume is not there yet, and something else says so already."""


class SandboxProblem(PodProblem):
    """The pod's namespaces or network cannot be made."""
