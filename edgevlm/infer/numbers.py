"""Numbers that a model wrote, taken only where nothing is lost: no NaN, no infinity, no boolean, no units."""

from __future__ import annotations

import math
import re
from typing import Any

_MAX_EXACT = 2**53
"""Beyond it a float, and whoever reads JSON into floats, loses digits."""
_DECIMAL = re.compile(r"[+-]?(\d{1,20}(\.\d{0,20})?|\.\d{1,20})(e[+-]?\d{1,3})?", re.IGNORECASE)


def read_number(value: Any) -> float | int | None:
    """Return a finite number: 3, 3.5 or "3.5", since a decimal in a string loses nothing; None otherwise."""
    if isinstance(value, str) and _DECIMAL.fullmatch(value.strip()):
        text = value.strip()
        value = int(text) if text.lstrip("+-").isdigit() else float(text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if abs(value) <= _MAX_EXACT and math.isfinite(value) else None


def read_integer(value: Any) -> int | None:
    """Return a whole number: 3, 3.0, "3" or "3.0"; None for anything else."""
    number = read_number(value)
    return int(number) if number is not None and number == int(number) else None
