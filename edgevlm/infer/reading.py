"""What a completion says, and what all tasks' readers share on the way there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from edgevlm.errors import BadAnswer
from edgevlm.infer.backend import Completion, Prompt
from edgevlm.infer.boxes import Frame
from edgevlm.infer.extract import Found, find_values
from edgevlm.infer.lookup import entries_of
from edgevlm.infer.visible import MAX_COMPLETION_CHARS
from edgevlm.records import Confidence, JsonValue, Question

_CUT_REASONS = frozenset({"length", "max_tokens", "model_length"})
_STOP_REASONS = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
_FENCED = re.compile(r"\A```[\w+-]*[ \t]*\n?(?P<text>.*?)(?:\n?```)?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a completion says."""

    outcome: Literal["ok", "unknown"]
    value: JsonValue = None
    """Set exactly when `outcome` is `ok`."""
    confidence: Confidence | None = None
    truncated: bool = False
    repaired: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """One completion with what it answers."""

    question: Question
    prompt: Prompt
    completion: Completion
    text: str
    """What is visible of the completion."""
    frame: Frame

    @property
    def cut(self) -> bool:
        """The text breaks off: the token limit or our own was reached."""
        return self._reason in _CUT_REASONS or len(self.completion.text) > MAX_COMPLETION_CHARS

    @property
    def stopped(self) -> bool:
        """The server says that the model ended by itself."""
        return not self.cut and self._reason in _STOP_REASONS

    @property
    def bare(self) -> str:
        """The text without a fence that encloses it."""
        fenced = _FENCED.match(self.text)
        return fenced["text"].strip() if fenced and "```" not in fenced["text"] else self.text

    @property
    def _reason(self) -> str:
        return (self.completion.finish_reason or "").casefold()

    def whole(self, found: Found) -> Any:
        """Return a value that is closed, or that only lacks brackets which the model forgot.

        Raises:
            BadAnswer: it breaks off.

        """
        if found.ending == "closed" or (self.stopped and found.value is not None):
            return found.value
        limit = f" at max_tokens={self.prompt.max_tokens}" if self.cut else ""
        raise BadAnswer(f"the answer breaks off{limit}")


def first_reading(values: Iterable[Found], read: Callable[[Found], Reading]) -> Reading:
    """Return the reading of the first value that has one, or raise why the first has none."""
    failure: BadAnswer | None = None
    for found in values:
        try:
            return read(found)
        except BadAnswer as error:
            failure = failure or error
    raise failure or BadAnswer("the answer is neither JSON nor one of the names that were asked for")


def lists_in(text: str) -> list[Found]:
    """Return the values in `text` that may hold a list.

    Objects one after the other, without a list around them, are the entries of one.
    """
    found = list(find_values(text))
    closed = [each for each in found if each.ending == "closed"]
    loose = [each.value for each in closed if isinstance(each.value, dict)]
    if not loose or any(entries_of(each.value) is not None for each in closed):
        return found
    repaired = any(each.repaired for each in closed)
    if len(closed) < len(found):
        return [Found(None, "unclosed", repaired, tuple(loose))]
    return [Found(loose, "closed", repaired)]


def entries_in(found: Found) -> tuple[list[Any], bool]:
    """Return the entries of a list; tell whether it breaks off.

    Raises:
        BadAnswer: no list, or one that breaks off before its first entry has ended.

    """
    if found.ending != "closed":
        if found.entries:
            return list(found.entries), True
        raise BadAnswer("the answer breaks off before its first entry has ended")
    entries = entries_of(found.value)
    if entries is None or (not entries and isinstance(found.value, list) and not found.alone):
        raise BadAnswer("the answer holds no list")
    return entries, False
