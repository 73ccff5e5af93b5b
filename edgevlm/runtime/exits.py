"""Exit codes, the same for every command (product contract; 78 is EX_CONFIG of sysexits.h)."""

from __future__ import annotations

EX_OK = 0
EX_FAILED = 1
EX_USAGE = 2
EX_CONFIG = 78
