"""What a rule asks of a model that the model cannot do: told before anybody is asked, with the reason.

The facts come from the table in `infer.capabilities`; what it does not know is allowed. Each check is a small
function over the configuration and the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from edgevlm.config.mistakes import KeyPath, Report
from edgevlm.config.model import Config, RuleConfig
from edgevlm.config.references import models_of
from edgevlm.infer.capabilities import Abilities, abilities_for, thinks
from edgevlm.infer.config import (
    DashScopeConfig,
    EmbeddedConfig,
    ModelConfig,
    OllamaConfig,
    OpenAICompatibleConfig,
    vendor_of,
)
from edgevlm.infer.pictures import default_max_side, picture_tokens
from edgevlm.infer.prompt import build_prompt
from edgevlm.runtime.clock import SystemClock

PROMPT_TOKENS = 400
"""About what our own words take in a question, beside the user's."""
PICTURE_BYTES_PER_PIXEL = 0.4
"""A JPEG of a busy scene, as base64."""


def check_abilities(config: Config, report: Report, today: date | None = None) -> None:
    """Run every check; `today` is the day by which models count as discontinued."""
    day = today or datetime.fromtimestamp(SystemClock().utc_ns() / 1e9, UTC).date()
    for name, model in config.models.items():
        path: KeyPath = ("models", name)
        if not report.told((*path, "type")) and not report.told((*path, "model")):
            _check_ends(path, model, report, day)
            for check in _OF_MODELS:
                check(path, model, report)
    for use in _uses(config):
        if not report.told((*use.path, "task")) and not report.told(("models", use.name)):
            for check_use in _OF_RULES:
                check_use(use, report)


@dataclass(frozen=True, slots=True)
class _Use:
    """One rule that asks one model."""

    path: KeyPath
    rule: RuleConfig
    name: str
    model: ModelConfig
    abilities: Abilities

    @property
    def model_path(self) -> KeyPath:
        """Return where the rule names the model."""
        return (*self.path, "model")


def _uses(config: Config) -> Iterator[_Use]:
    for camera, section in config.cameras.items():
        for rule_name, rule in section.rules.items():
            for name in models_of(config, rule):
                if (model := config.models.get(name)) is not None:
                    path: KeyPath = ("cameras", camera, "rules", rule_name)
                    yield _Use(path, rule, name, model, abilities_for(model))


# --- models ------------------------------------------------------------------------------------------------


def _check_ends(path: KeyPath, model: ModelConfig, report: Report, day: date) -> None:
    abilities = abilities_for(model)
    if abilities.ends is None:
        return
    instead = f"take {abilities.successor}" if abilities.successor else ""
    where = (*path, "model")
    if abilities.off_at(day):
        report.wrong_value(where, f"this model was switched off on {abilities.ends}", instead)
    else:
        report.warn(where, f"this model will be switched off on {abilities.ends}", instead)


def _check_frame_url(path: KeyPath, model: ModelConfig, report: Report) -> None:
    if not isinstance(model, DashScopeConfig):
        return
    if abilities_for(model).pictures_by_url and model.frame_url is None:
        report.lacks(
            (*path, "frame_url"),
            "this model takes pictures by URL only, and `frame_url` is missing",
            "describe a bucket below `frame_url:`, or take the same model from type: moonshot",
        )


def _check_thinking(path: KeyPath, model: ModelConfig, report: Report) -> None:
    if isinstance(model, EmbeddedConfig) or "thinking" not in model.model_fields_set:
        return
    able = abilities_for(model).thinking
    where = (*path, "thinking")
    if able == "always" and model.thinking == "disabled":
        report.wrong_value(where, "this model always thinks", "leave `thinking` out; answers get more tokens")
    if able == "none" and model.thinking == "enabled":
        report.wrong_value(where, "this model cannot think", "leave `thinking` out")


def _check_logprobs(path: KeyPath, model: ModelConfig, report: Report) -> None:
    if getattr(model, "logprobs", "auto") == "always" and abilities_for(model).logprobs is False:
        where = (*path, "logprobs")
        report.wrong_value(where, "this model gives no token probabilities", "take auto or never")


def _check_vendor(path: KeyPath, model: ModelConfig, report: Report) -> None:
    if not isinstance(model, OpenAICompatibleConfig):
        return
    vendor = vendor_of(model)
    where = (*path, "base_url")
    if vendor == "api.anthropic.com":
        if not model.base_url.endswith("/v1"):
            hint = "its compatible route is https://api.anthropic.com/v1; or take type: openrouter"
            report.wrong_value(where, "Anthropic's own interface is not spoken here", hint)
        else:
            report.warn(where, "Anthropic's compatible route ignores schemas", "or take type: openrouter")
    elif (better := _BETTER.get(vendor)) is not None:
        hint = f"type: {better} knows this vendor's own ways"
        report.warn(where, "this vendor is not wholly OpenAI-compatible", hint)


_BETTER = {
    "api.moonshot.ai": "moonshot",
    "api.moonshot.cn": "moonshot",
    "dashscope.aliyuncs.com": "dashscope",
    "dashscope-intl.aliyuncs.com": "dashscope",
    "dashscope-us.aliyuncs.com": "dashscope",
    "openrouter.ai": "openrouter",
}

_OF_MODELS: tuple[Callable[[KeyPath, ModelConfig, Report], None], ...] = (
    _check_frame_url,
    _check_thinking,
    _check_logprobs,
    _check_vendor,
)


# --- rules -------------------------------------------------------------------------------------------------


def _check_pictures(use: _Use, report: Report) -> None:
    if use.abilities.images is False:
        hint = "name one that takes pictures"
        message = f"{use.name} asks {use.model.model}, which takes text only"
        report.wrong_value(use.model_path, message, hint)


def _check_video(use: _Use, report: Report) -> None:
    if use.rule.clip is None:
        return
    where = (*use.path, "clip")
    model = use.model.model if not isinstance(use.model, EmbeddedConfig) else "embedded"
    if use.abilities.video is False:
        message = f"{use.name} asks {model}, which takes no video"
        report.wrong_value(where, message, "take `frames`, or name a model that takes video")
    elif use.abilities.pictures_by_url:
        message = f"{use.name} takes video by URL only, which clips do not have"
        report.wrong_value(where, message, "take `frames`, or the same model from type: moonshot")
    elif use.abilities.video is None:
        message = f"it is not known whether {model} takes video"
        report.warn(where, message, "try it, or take `frames`")


def _check_temperature(use: _Use, report: Report) -> None:
    if use.abilities.fixed_sampling and use.rule.task.temperature is not None:
        where = (*use.path, "task", "temperature")
        message = f"{use.model.model} takes no temperature but its own"
        report.wrong_value(where, message, "leave it out")


def _check_context(use: _Use, report: Report) -> None:
    """Refuse a question that cannot fit into the context, or into a request, by estimate."""
    if isinstance(use.model, EmbeddedConfig) or use.abilities.images is False:
        return
    side = use.rule.picture.max_side or default_max_side(use.rule.task.type)
    count = use.rule.frames.count
    if use.abilities.max_images is not None and count > use.abilities.max_images:
        message = f"{use.name} takes at most {use.abilities.max_images} pictures"
        report.wrong_value((*use.path, "frames", "count"), message, "ask for fewer frames")
    _check_tokens(use, side, count, report)
    bytes_sent = int(side * side * 9 / 16 * PICTURE_BYTES_PER_PIXEL * count)
    limit = use.abilities.max_request_bytes
    if limit is not None and bytes_sent > limit:
        message = f"{count} pictures of {side} pixels are about {bytes_sent} bytes; {use.name} takes {limit}"
        report.wrong_value((*use.path, "picture"), message, "ask for fewer or smaller pictures")


def _check_tokens(use: _Use, side: int, count: int, report: Report) -> None:
    context = use.model.num_ctx if isinstance(use.model, OllamaConfig) else use.abilities.context
    if context is None:
        return
    prompt = build_prompt(use.rule.task.question(), thinks=thinks(use.model))
    words = (len(prompt.user) + len(prompt.system or "")) // 3
    pictures = count * picture_tokens(use.abilities, (side, side * 9 // 16))
    needed = max(words, PROMPT_TOKENS) + pictures + prompt.max_tokens
    if needed > context:
        remedy = "raise num_ctx" if isinstance(use.model, OllamaConfig) else "take another model"
        message = f"the question needs about {needed} tokens; {use.name} has {context}"
        report.wrong_value(use.model_path, message, f"{remedy}, or ask for fewer or smaller pictures")


_OF_RULES: tuple[Callable[[_Use, Report], None], ...] = (
    _check_pictures,
    _check_video,
    _check_temperature,
    _check_context,
)
