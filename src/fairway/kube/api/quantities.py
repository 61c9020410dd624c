"""Resource quantities: `100m`, `1.5Gi`, `2e3`."""

import math
import re
from decimal import Decimal

_FORM = re.compile(r"^([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([eE][+-]?[0-9]+)|(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]))?$")
_SCALE = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    **{unit: Decimal(1 << (10 * power)) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)},
}


def parse(text: str | int | float) -> Decimal:
    """The number that a quantity stands for.

    Raises ValueError with upstream's text.  Source: apimachinery `resource.Quantity`.
    """
    match = _FORM.match(str(text))
    if match is None:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    number, exponent, suffix = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * _SCALE[suffix] if suffix else Decimal(number)


def millis(text: str | int | float) -> int:
    """Thousandths, rounded up, as CPU is counted."""
    return math.ceil(parse(text) * 1000)


def whole(text: str | int | float) -> int:
    """Units, rounded up, as memory is counted in bytes."""
    return math.ceil(parse(text))
