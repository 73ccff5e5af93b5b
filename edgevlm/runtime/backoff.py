"""The growing, jittered pause before another try.

The n-th pause is drawn evenly from the upper half of `min(cap, first * 2**n)`: it grows, never falls to
nothing, and a row of cameras that lost power together does not come back in step ("equal jitter",
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Pauses of one caller; `reset()` after a success."""

    first_secs: float = 1.0
    cap_secs: float = 60.0
    tries: int = 0
    draw: random.Random = field(default_factory=random.Random, repr=False)

    def next_secs(self) -> float:
        """Return the next pause in seconds and count the try."""
        ceiling = min(self.cap_secs, self.first_secs * 2.0 ** min(self.tries, 32))
        self.tries += 1
        return ceiling * self.draw.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again at the first pause."""
        self.tries = 0
