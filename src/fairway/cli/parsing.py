"""A command line in which options may stand anywhere, also between arguments that may be absent."""

import argparse
from typing import Any


class Parser(argparse.ArgumentParser):
    """`rollback APP -e staging v3`: argparse alone takes `v3` for absent as soon as it meets the option."""

    _inside = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        has_verbs = any(action.nargs in (argparse.PARSER, argparse.REMAINDER) for action in self._actions)
        if self._inside or has_verbs:
            return super().parse_known_args(args, namespace)
        self._inside = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._inside = False
