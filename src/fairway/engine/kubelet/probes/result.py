"""The answer of one check."""

import os

import msgspec


class Result(msgspec.Struct, frozen=True):
    """`warning` is a success that a person should know of; `message` is upstream's text."""

    ok: bool
    message: str = ""
    warning: bool = False


def reason_of(error: OSError) -> str:
    """A failed connection in Go's words, which people search for."""
    number = error.errno or 0
    return f"connect: {os.strerror(number).lower()}" if number > 0 else str(error)
