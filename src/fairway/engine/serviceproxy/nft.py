"""The nft command, for listings and for scripts that are too large for the library."""

import subprocess

from fairway.engine.serviceproxy.errors import NftablesError
from fairway.toolkit import command

LIBRARY_SCRIPT_BYTES_MAX = 100_000
"""Larger scripts go to a process of their own: the library keeps the memory it once needed."""
_SECONDS_MAX = 120.0


async def nft(*arguments: str, script: str = "") -> str:
    """What the command prints.  Raises NftablesError; then nothing was changed."""
    try:
        done = await command.run(("nft", *arguments), stdin=script.encode(), timeout_seconds=_SECONDS_MAX)
    except FileNotFoundError as error:
        raise NftablesError("there is no nft command; install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise NftablesError(f"nft did not end within {_SECONDS_MAX:.0f} s") from error
    if done.returncode:
        raise NftablesError(done.stderr.decode(errors="replace").strip()[:500])
    return done.stdout.decode()
