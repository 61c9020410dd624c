"""The errors of the distribution spec (OCI distribution 1.1, "Error Codes") as values with their HTTP status."""

import msgspec

from fairway.toolkit.http_messages import Headers, Response

STATUS_OF = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 400,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "SIZE_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
}


class RegistryProblem(Exception):
    """A request that is answered with an error of the spec; caught once, by the server's handler."""

    def __init__(self, code: str, message: str, *, status: int = 0, headers: Headers = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or STATUS_OF[code]
        self.headers = headers


def response(problem: RegistryProblem) -> Response:
    """The spec's JSON body."""
    body = msgspec.json.encode({"errors": [{"code": problem.code, "message": problem.message}]})
    return Response(problem.status, body, (("Content-Type", "application/json"), *problem.headers))
