"""What can go wrong between the kubelet and the runtime."""


class RuntimeUnavailable(ConnectionError):
    """The zygote does not answer; it is restarted by its supervisor, so try again."""


class RuntimeRefused(Exception):
    """The runtime could not do what was asked; the message says why."""


class ContainerExists(RuntimeRefused):
    """A container of this id was started before and not removed."""


class ContainerUnknown(LookupError):
    """There is no container of this id."""


class ExecFailed(RuntimeRefused):
    """A command could not be run in a container: the container has ended or the command was not found."""


class ExecTimedOut(TimeoutError):
    """A command in a container took too long and was killed with all its children."""


class LimitRefused(RuntimeRefused):
    """The kernel did not take a limit: less memory, for example, than is in use."""
