"""Quantities of Kubernetes, as numbers.

Source: apimachinery, api/resource/quantity.go.
"""

import re
from decimal import Decimal
from functools import lru_cache
from math import ceil
from typing import Final

_QUANTITY: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]{1,3})?)(Ki|Mi|Gi|Ti|Pi|Ei|m|u|n|k|M|G|T|P|E|)")
_TIMES: Final = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    **{unit: Decimal(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}  # fmt: skip


@lru_cache(maxsize=10_000)
def amount(text: str, *, thousandths: bool = False) -> int:
    """A quantity, rounded up; 0 for what is none, which no API server lets into a pod."""
    match = _QUANTITY.fullmatch(text)
    try:
        number = Decimal(match[1]) * _TIMES[match[2]] * (1_000 if thousandths else 1) if match else Decimal(0)
        return ceil(number)
    except ArithmeticError:
        return 0
