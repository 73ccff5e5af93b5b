"""Kimi from Moonshot itself: how it wants to be asked.

Sampling is fixed and any value for it is refused, `thinking` is always said (a model that is not told thinks
for minutes), and schemas stay within its subset of JSON Schema (MFJS), which all of ours do.
"""

from __future__ import annotations

from edgevlm.infer.capabilities import abilities_for
from edgevlm.infer.config import MoonshotConfig
from edgevlm.infer.dialect import Dialect, Takes

FIXED = frozenset({"temperature", "top_p", "n", "presence_penalty", "frequency_penalty"})
"""Fields that take one value only, which is the default."""


def moonshot_dialect(config: MoonshotConfig) -> Dialect:
    """Return how this endpoint is written to."""
    abilities = abilities_for(config)
    said = config.thinking if abilities.thinking == "optional" else "enabled"
    return Dialect(
        takes=Takes(temperature=not abilities.fixed_sampling, stream=config.stream),
        thinking={"thinking": {"type": said}} if abilities.thinking in ("optional", "always") else {},
        never=FIXED if abilities.fixed_sampling else frozenset(),
        text_first=abilities.text_first,
    )
