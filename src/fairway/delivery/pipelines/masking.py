"""Secrets out of logs: values, their lines, their base64, URL and JSON forms, also where a chunk ends inside of one."""

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

_LENGTH_MIN = 4
_MASK = b"[masked]"


def forms(values: Iterable[str]) -> frozenset[bytes]:
    """Every text that gives a value away. Values shorter than four characters are left: masking them hides the log.

    A value inside a longer base64 text is found at each of its three alignments.
    """
    found: set[bytes] = set()
    for value in values:
        parts = {value, value.strip(), *(line.strip() for line in value.splitlines())}
        for part in parts:
            if len(part) >= _LENGTH_MIN:
                data = part.encode()
                found |= {data, *_encoded(data), quote(part, safe="").encode(), json.dumps(part)[1:-1].encode()}
    return frozenset(found)


def _encoded(data: bytes) -> Iterable[bytes]:
    """What a value's base64 has in common, whatever stands before and after it; and the whole text of it alone."""
    texts = [base64.b64encode(data)]
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + data)
        texts.append(text[(0, 2, 3)[shift] : 8 * (shift + len(data)) // 6])
    for text in texts:
        if len(text) >= 2 * _LENGTH_MIN:
            yield text
            yield text.replace(b"+", b"-").replace(b"/", b"_")


class Masker:
    """Masks a stream. What could be the beginning of a secret is held back until more comes."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self._secrets = sorted(set(secrets), key=lambda one: (-len(one), one))
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets))) if self._secrets else None
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What can be shown now."""
        if self._pattern is None:
            return piece
        text = self._held + piece
        cut = len(text) - self._beginning(text)
        for match in self._pattern.finditer(text):
            if match.start() < cut < match.end():
                cut = match.start()  # never half of one because it is also the beginning of another
        shown, self._held = text[:cut], text[cut:]
        return self._pattern.sub(_MASK, shown)

    def flush(self) -> bytes:
        """What was held back, at the end."""
        shown, self._held = self._held, b""
        return self._pattern.sub(_MASK, shown) if self._pattern else shown

    def _beginning(self, text: bytes) -> int:
        """How many bytes at the end could be the beginning of a secret."""
        longest = min(len(text), max(map(len, self._secrets)) - 1)
        tail = text[len(text) - longest :]
        for start in range(longest):
            if any(secret.startswith(tail[start:]) for secret in self._secrets):
                return longest - start
        return 0
