"""The table of what servers say when they refuse, and which of our errors each saying means.

Read top down, the first row that fits counts: what can never work comes before what may heal by itself. The
status alone decides where the words say nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgevlm.errors import (
    ContentFiltered,
    InferError,
    ModelOverloaded,
    ModelRefused,
    ModelTimeout,
    ModelUnreachable,
    PictureRejected,
    QuotaExceeded,
    TooLarge,
)


@dataclass(frozen=True, slots=True)
class Meaning:
    """One row of the table: these words, with one of these statuses (any when empty), mean this error."""

    error: type[InferError]
    words: re.Pattern[str]
    statuses: frozenset[int] = frozenset()

    def fits(self, status: int, words: str) -> bool:
        """Tell whether this row is the one."""
        return (not self.statuses or status in self.statuses) and self.words.search(words) is not None


def _row(error: type[InferError], *words: str, statuses: tuple[int, ...] = ()) -> Meaning:
    return Meaning(error, re.compile("|".join(words)), frozenset(statuses))


_CLIENT_FAULTS = (200, 400, 403, 404, 405, 409, 410, 415, 422, 500, 501)
MEANINGS = (
    _row(
        ContentFiltered,
        r"content[ _]?filter|content[ _]policy|content management policy|responsibleaipolicy",
        r"data_inspection_failed|inappropriate content|moderation|\bflagged\b|\bsafety\b|high risk",
    ),
    # DashScope's "Allocated quota exceeded" is a rate limit that recovers within a minute.
    _row(ModelOverloaded, r"allocated quota exceeded|throttling"),
    _row(
        QuotaExceeded,
        r"insufficient_quota|exceeded_current_quota|insufficient[ _](?:account )?(?:balance|credits?|funds)",
        r"credit_balance_exhausted|spend_limit|billing_(?:not_active|hard_limit)|arrearage",
        r"\btpd\b|per[-_ ]?day|\bdaily\b",
    ),
    _row(
        ModelRefused,
        r"(?:not|n't) support(?:ed)? (?:\w+ )?(?:image|vision|multimodal)|image input is not supported",
        r"mmproj|support image input|not a multimodal|image urls are not currently supported",
        r"at most \d+ image|image count \d+ exceeds|too many images|vision is not enabled",
    ),
    _row(
        TooLarge,
        r"context[ _](?:length|size|window)|maximum context|exceed_context|max_model_len|token limit",
        r"token length too long|too many tokens|prompt is too long|request \(\d+ tokens\) exceeds",
        r"request_too_large|(?:payload|entity|body) too large|length limit exceeded|tokens.{1,40}must be <=",
    ),
    _row(
        PictureRejected,
        r"(?:load|decode|identify|process|parse|open|read) (?:the |an? |input )?(?:image|picture)",
        r"image[ _]parse|(?:invalid|unsupported)[ _]image|image[ _](?:too[ _]\w+|not_found|download_failed)",
        r"image file is truncated|base64|invalidurl|image (?:size|dimensions?|resolution|length)",
        r"multimodal (?:file|data|input)",
    ),
    _row(
        ModelRefused,
        r"model_not_found|resource_not_found|model\b.{0,80}\b(?:not found|(?:does|did) not exist|not exist)",
        r"no such model|try pulling|no endpoints|unknown model|pinned to|access[ _.]?denied",
        r"invalid[ _]?api[ _]?key|incorrect[ _]api[ _]key|unauthorized|permission[ _]denied",
        statuses=_CLIENT_FAULTS,
    ),
    _row(
        ModelOverloaded,
        r"overloaded|rate[ _]?limit|too many requests|loading model|model is (?:still )?loading",
        r"server busy|maximum pending|no available|capacity|temporarily|resource_exhausted",
        statuses=(200, 409, 425, 429, 500, 502, 503, 529),
    ),
    _row(ModelTimeout, r"tim(?:e|ed)[ -]?out", statuses=(200, 500, 503, 504)),
)
_BY_STATUS: dict[int, type[InferError]] = {
    200: ModelUnreachable,
    402: QuotaExceeded,
    408: ModelTimeout,
    409: ModelOverloaded,
    413: TooLarge,
    424: ModelUnreachable,
    425: ModelOverloaded,
    429: ModelOverloaded,
    499: ModelTimeout,
    501: ModelRefused,
    503: ModelOverloaded,
    504: ModelTimeout,
    524: ModelTimeout,
    529: ModelOverloaded,
}


def meant_by(status: int, words: str, vendors_own: tuple[Meaning, ...] = ()) -> type[InferError]:
    """Return the error that `status` and `words` (in lower case) mean; a vendor's own rows are read first."""
    for row in (*vendors_own, *MEANINGS):
        if row.fits(status, words):
            return row.error
    return _BY_STATUS.get(status) or (ModelUnreachable if status >= 500 else ModelRefused)
