"""What a model can do, told by its name: a table of families, read before anybody is asked.

Rows are read top down and each that fits adds to what is known, so that a special case stands below its
family. What no row tells is not known, and counts as allowed: a stranger is asked and learnt from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

from edgevlm.infer.boxes import BoxFormat, default_box_format
from edgevlm.infer.config import EmbeddedConfig, ModelConfig, vendor_of

Thinking = Literal["unknown", "none", "optional", "always"]
"""Whether a model reasons before it answers: never, as it is told, or always."""
PictureTokens = Literal["patch-28", "patch-32", "kimi", "openai-tiles", "gemini-tiles", "claude", "fixed"]
"""How a family counts the tokens of a picture (`pictures.estimate_tokens`)."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What is known of one model before the first question; None: not known."""

    images: bool | None = None
    video: bool | None = None
    json_schema: bool | None = None
    logprobs: bool | None = None
    thinking: Thinking = "unknown"
    thinking_off: tuple[tuple[str, Any], ...] = ()
    """Fields by which an OpenAI-compatible server of this family is told not to think."""
    thinking_on: tuple[tuple[str, Any], ...] = ()
    fixed_sampling: bool = False
    """Any temperature but the model's own is refused."""
    pictures_by_url: bool = False
    """Pictures are fetched from public addresses; base64 is refused."""
    max_images: int | None = None
    max_request_bytes: int | None = None
    context: int | None = None
    """Tokens of question and answer together."""
    text_first: bool = True
    """The question stands before the pictures."""
    multiple_of: int = 1
    """Width and height are best multiples of this."""
    picture_tokens: PictureTokens = "patch-28"
    fixed_tokens: int = 0
    """Tokens of any picture, where `picture_tokens` is `fixed`."""
    box_format: BoxFormat = "named_normalized"
    ends: date | None = None
    """When its vendor switches it off, or did."""
    successor: str | None = None

    def off_at(self, day: date) -> bool:
        """Tell whether the vendor has switched it off by `day`."""
        return self.ends is not None and self.ends <= day


def abilities_of(model: str, vendor: str = "") -> Abilities:
    """Return what is known of `model`, as `vendor` serves it (a `type` of the configuration, or a host)."""
    name = model.casefold()
    found = Abilities(box_format=default_box_format(model))
    for row in _ROWS:
        if (row.vendor is None or row.vendor == vendor) and row.model.search(name):
            found = replace(found, **row.facts)
    return found


def abilities_for(config: ModelConfig) -> Abilities:
    """Return what is known of an endpoint of the configuration."""
    if isinstance(config, EmbeddedConfig):
        return Abilities(images=True, video=False, thinking="none", max_images=1)
    found = abilities_of(config.model, vendor_of(config))
    return found if config.box_format is None else replace(found, box_format=config.box_format)


def thinks(config: ModelConfig) -> bool:
    """Tell whether the model reasons as it is configured; its answers then need more tokens."""
    if isinstance(config, EmbeddedConfig):
        return False
    found = abilities_for(config).thinking
    return found == "always" or (found != "none" and config.thinking == "enabled")


@dataclass(frozen=True, slots=True)
class _Row:
    model: re.Pattern[str]
    vendor: str | None
    facts: dict[str, Any]


def _row(model: str, /, vendor: str | None = None, **facts: Any) -> _Row:
    return _Row(re.compile(model), vendor, facts)


def _template(**switch: bool) -> tuple[tuple[str, Any], ...]:
    return (("chat_template_kwargs", switch),)


_K, _M = 1024, 1_000_000

_ROWS = (
    # --- Kimi. The boxes of K2.5 and later are documented nowhere; the default form is asked for explicitly.
    _row(r"kimi", picture_tokens="kimi", multiple_of=28, context=256 * _K),
    _row(
        r"kimi-k2\.[56]",
        images=True,
        video=True,
        thinking="optional",
        fixed_sampling=True,
        logprobs=False,
        thinking_off=_template(thinking=False),
        thinking_on=_template(thinking=True),
    ),
    _row(r"kimi-k2\.7", images=True, video=True, thinking="always", fixed_sampling=True, logprobs=False),
    _row(r"kimi-k3", images=True, video=True, thinking="always", fixed_sampling=True, context=1_024 * _K),
    _row(
        r"kimi-k2-(0905|0711|turbo)-preview|kimi-k2-instruct|kimi-k2-thinking",
        images=False,
        ends=date(2026, 5, 25),
        successor="kimi-k2.5",
    ),
    _row(r"kimi-k2-thinking", thinking="always"),
    _row(r"kimi-latest", ends=date(2026, 1, 28), successor="kimi-k2.5"),
    _row(r"kimi-thinking-preview", ends=date(2025, 11, 11), successor="kimi-k2.5"),
    _row(r"moonshot-v1-", images=False, thinking="none", video=False),
    _row(r"moonshot-v1-.*vision", images=True),
    _row(r"moonshot-v1-8k", context=8 * _K),
    _row(r"moonshot-v1-32k", context=32 * _K),
    _row(r"moonshot-v1-128k", context=128 * _K),
    _row(r"", vendor="moonshot", json_schema=True, max_request_bytes=100 * _M),
    # --- Qwen: instruct and thinking models apart, or one that is told; 28 pixels a token, 32 since Qwen3-VL.
    _row(r"qwen", multiple_of=28, picture_tokens="patch-28"),
    _row(r"qwen[-_ ]?2(\.5|_5)?[-_ ]?(vl|omni)", images=True, video=True, thinking="none"),
    _row(r"qwen[-_ ]?([3-9]|\d\d)", multiple_of=32, picture_tokens="patch-32"),
    _row(r"qwen[-_ ]?[23](\.5)?[-_]\d[\w.]*b", images=False),
    _row(
        r"qwen[-_ ]?([3-9]|\d\d)",
        thinking="optional",
        thinking_off=_template(enable_thinking=False),
        thinking_on=_template(enable_thinking=True),
    ),
    _row(r"qwen[-_ ]?3[-_ ]?vl|qwen3\.[5-9]|qwen[-_ ]?vl", images=True, video=True),
    _row(r"qwen.*instruct", thinking="none", thinking_off=(), thinking_on=()),
    _row(r"qwen.*[-_]thinking|qwq|qvq", thinking="always", thinking_off=(), thinking_on=()),
    # --- DashScope: only listed Qwen models take a schema; Moonshot's own models take URLs only.
    _row(r"^(?!.*qwen)", vendor="dashscope", json_schema=False),
    _row(r"", vendor="dashscope", max_request_bytes=100 * _M, logprobs=False),
    _row(r"^kimi/", vendor="dashscope", pictures_by_url=True),
    _row(
        r"moonshot-kimi-k2-instruct|^kimi-k2-thinking",
        vendor="dashscope",
        images=False,
        ends=date(2026, 7, 9),
        successor="kimi/kimi-k2.6",
    ),
    # --- Others that are run at home.
    _row(
        r"glm-?4\.[56]v",
        images=True,
        thinking="optional",
        thinking_off=_template(enable_thinking=False),
        thinking_on=_template(enable_thinking=True),
    ),
    _row(r"glm-?4\.1v.*thinking", images=True, thinking="always"),
    _row(r"internvl|smolvlm|idefics|llava|moondream|minicpm-v|pixtral|molmo|paligemma", images=True),
    _row(r"smolvlm|idefics|llava|moondream|paligemma", thinking="none"),
    _row(r"llava|moondream|minicpm-v|pixtral|molmo|paligemma|idefics", video=False),
    _row(r"gemma-?[34]|llama-?(3\.2|4)|gpt-|\bo[134](-|$)", video=False),
    _row(r"gemma-?3", images=True, thinking="none", picture_tokens="fixed", fixed_tokens=256),
    _row(r"gemma-?3[-:_](270m|1b)|gemma-?2", images=False),
    _row(r"gemma-?4", images=True, picture_tokens="fixed", fixed_tokens=1120, text_first=False),
    _row(
        r"gpt-oss|llama-?(2|3(\.1|\.3)?)[-:_ ](?!.*vision)|deepseek-(r1|v[234]|chat|reasoner)", images=False
    ),
    _row(r"llama-?(3\.2|4).*(vision|scout|maverick)", images=True, thinking="none"),
    # --- Clouds.
    _row(
        r"gpt-(4o|4\.1|4-turbo)", images=True, thinking="none", logprobs=True, picture_tokens="openai-tiles"
    ),
    _row(r"gpt-4\.1-(mini|nano)", picture_tokens="patch-32"),
    _row(
        r"\bo[134](-|$)|gpt-[5-9]",
        images=True,
        thinking="always",
        logprobs=False,
        fixed_sampling=True,
        picture_tokens="patch-32",
        context=200_000,
        thinking_off=(("reasoning_effort", "low"),),
    ),
    _row(r"\bo[13]-mini", images=False),
    _row(r"gpt-[5-9]", context=272_000, thinking_off=(("reasoning_effort", "minimal"),)),
    _row(r"gpt-5\.[1-9]", thinking="optional", thinking_off=(("reasoning_effort", "none"),)),
    _row(r"gemini", images=True, video=True, logprobs=False, context=1_024 * _K, text_first=False),
    _row(r"gemini-2", picture_tokens="gemini-tiles"),
    _row(r"gemini-2\.5-flash", thinking="optional", thinking_off=(("reasoning_effort", "none"),)),
    _row(r"gemini-2\.5-pro|gemini-[3-9]", thinking="always", thinking_off=(("reasoning_effort", "low"),)),
    _row(r"gemini-[3-9]", picture_tokens="fixed", fixed_tokens=1120),
    _row(r"gemini-(1|2\.0)", thinking="none"),
    _row(
        r"claude",
        images=True,
        video=False,
        logprobs=False,
        max_images=100,
        max_request_bytes=32 * _M,
        context=200_000,
        text_first=False,
        picture_tokens="claude",
    ),
    # --- Servers with a limit of their own.
    _row(r"", vendor="api.openai.com", max_request_bytes=50 * _M, max_images=500),
    _row(r"", vendor="api.anthropic.com", json_schema=False, text_first=False),
    _row(r"", vendor="ollama", video=False, logprobs=False),
)
