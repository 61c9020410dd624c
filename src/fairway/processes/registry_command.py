"""`fairway registry token`: give and take tokens for the cluster's registry."""

import argparse
import sys
from datetime import UTC, datetime, timedelta

from fairway.cli import terminal
from fairway.processes import own_registry
from fairway.registry import tokens
from fairway.registry.tokens import BadTable, Scope


def run(arguments: argparse.Namespace) -> int:
    """Returns the exit code; the secret alone goes to standard output."""
    file = own_registry.tokens_file(arguments.state_dir)
    try:
        if arguments.revoke:
            found = tokens.revoke(file, arguments.name)
            (terminal.ok if found else terminal.fail)(f"token {arguments.name}: {'revoked' if found else 'not found'}")
            return 0 if found else 1
        actions = tuple(word.strip() for word in arguments.actions.split(","))
        scopes = tuple(Scope(pattern, actions) for pattern in arguments.repository or ["*"])
        expires = datetime.now(UTC) + timedelta(days=arguments.days) if arguments.days else None
        secret = tokens.issue(file, arguments.name, scopes, expires)
    except (BadTable, OSError) as error:
        terminal.fail(f"fairway registry token: {error}")
        return 1
    sys.stdout.write(secret + "\n")
    return 0
