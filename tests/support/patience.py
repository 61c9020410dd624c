"""How much longer than usual things may take: the factor `FAIRWAY_TEST_PATIENCE`, as for an emulated machine."""

import os

FACTOR = float(os.environ.get("FAIRWAY_TEST_PATIENCE", "1"))


def seconds(usual: float) -> float:
    """So long may it take here."""
    return usual * FACTOR
