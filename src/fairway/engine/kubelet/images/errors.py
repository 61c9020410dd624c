"""Why a container has no image.

ImageError
├── InvalidName       the reference cannot be parsed        → InvalidImageName
├── ImageNotPresent   policy Never and it is not here       → ErrImageNeverPull
└── PullError         the registry did not give it          → ErrImagePull, then ImagePullBackOff
"""


class ImageError(Exception):
    """A container's image is not there; the message is what an Event should say."""


class InvalidName(ImageError):
    """The image reference cannot be parsed."""


class ImageNotPresent(ImageError):
    """The image is not on this node and must not be pulled."""


class PullError(ImageError):
    """Pulling failed. `message` is worded as containerd words it; `retryable` tells an outage from a refusal.

    The kubelet retries both: the image may be pushed, or the Secret mended, meanwhile.
    """

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
