"""The topics of one box: `PREFIX/NODE/…`. Pure; the table is in `docs/mqtt.md`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LEVEL = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Topics:
    """Builds and takes apart topic names."""

    prefix: str
    node: str

    @property
    def status(self) -> str:
        """`online` or `offline`, retained; the will."""
        return self.below("status")

    @property
    def commands(self) -> str:
        """The filter of everything that may be told to this box."""
        return f"{self.prefix}/{self.node}/cmd/#"

    def of_rule(self, camera: str, rule: str, kind: str) -> str:
        """Return the topic of a rule's `result`, `state` or `value`."""
        return self.below(f"{camera}/{rule}/{kind}")

    def below(self, path: str) -> str:
        """Return the topic for `path` below `PREFIX/NODE/`.

        Raises:
            ValueError: `path` could leave its place or be a wildcard.

        """
        if not all(_LEVEL.fullmatch(level) for level in path.split("/")):
            raise ValueError(f"not a topic of ours: {path!r}")
        return f"{self.prefix}/{self.node}/{path}"

    def command_path(self, topic: str) -> str | None:
        """Return what stands behind `cmd/`, or None if `topic` is none of our commands."""
        head = f"{self.prefix}/{self.node}/cmd/"
        return topic.removeprefix(head) if topic.startswith(head) else None

    def may_answer_on(self, topic: str) -> bool:
        """Whether a sender may have its answer on `topic`: anywhere but where we speak ourselves.

        Else whoever may send commands could forge results, or make us send commands to ourselves.
        """
        ours = f"{self.prefix}/{self.node}"
        forged = topic == ours or topic.startswith((f"{ours}/", "$"))
        return 0 < len(topic) <= 1024 and not forged and not re.search(r"[+#\x00]", topic)
