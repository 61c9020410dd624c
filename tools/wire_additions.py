"""Protobuf messages that kubectl does not carry, from the field tags in the public API documentation."""

from typing import Any

MESSAGES: dict[str, list[list[Any]]] = {}
