"""The nftables library through ctypes: a kept-open context commits a small change in a fraction of a millisecond."""

import ctypes
import ctypes.util
from typing import Self

_JSON = 1 << 4
_SONAME = "libnftables.so.1"


class NftablesError(Exception):
    """A transaction or a listing failed; nothing was changed."""


class LibNftables:
    """One context, bound to the network namespace in which it was made."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._context = ctypes.c_void_p(library.nft_ctx_new(0))
        if not self._context:
            raise NftablesError("libnftables gave no context")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    @classmethod
    def open(cls) -> Self | None:
        """A context, or None where the library is not installed."""
        try:
            library = ctypes.CDLL(_SONAME)
        except OSError:
            return None
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        library.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        return cls(library)

    def run(self, script: str, *, json: bool = False) -> str:
        """Run commands in one transaction and return what they print.

        Raises NftablesError with the library's message; then nothing was changed.
        """
        self._library.nft_ctx_output_set_flags(self._context, _JSON if json else 0)
        result = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
        # Fetching a buffer also empties it, so both are read every time.
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        error = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if result:
            raise NftablesError(error.decode(errors="replace").strip() or "libnftables failed without a message")
        return bytes(output).decode()

    def close(self) -> None:
        """Free the context."""
        self._library.nft_ctx_free(self._context)
