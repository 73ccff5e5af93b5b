"""What a model cannot do is an error of `check`, with the line and the reason."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from edgevlm.config.abilities import check_abilities
from edgevlm.config.load import load
from edgevlm.config.mistakes import Report
from tests.config.conftest import LoadText, Mistakes

KEY = "api_key: !env K"
OPENAI = "type: openai-compatible, base_url: 'http://10.0.0.5/v1'"
S3 = "{type: s3, endpoint: 'https://s3.example.org', bucket: frames, access_key: !env K, secret_key: !env K}"
BIG_PICTURES = ", frames: {count: 12, before_secs: 5}, picture: {max_side: 8192}"
ENVIRON = {"K": "0123456789"}


def config(model: str, *, task: str = "{type: ocr}", more: str = "") -> str:
    return (
        f"models:\n  m: {{{model}}}\nsinks: {{s: {{type: stdout}}}}\ncameras:\n  c:\n"
        "    source: {type: usb, device: x}\n    rules:\n"
        f"      r: {{trigger: {{type: command}}, task: {task}{more}}}\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            config(f"type: dashscope, model: kimi/kimi-k2.6, {KEY}"),
            "2: models.m: this model takes pictures by URL only, and `frame_url` is missing",
        ),
        (
            config(f"type: moonshot, model: kimi-k2-thinking-turbo, thinking: disabled, {KEY}"),
            "2: models.m.model: this model was switched off on 2026-05-25; take kimi-k2.5",
        ),
        (
            config(f"type: moonshot, model: kimi-k2.7-code, thinking: disabled, {KEY}"),
            "2: models.m.thinking: this model always thinks; leave `thinking` out",
        ),
        (
            config(f"{OPENAI}, model: Qwen3-VL-8B-Instruct, thinking: enabled"),
            "2: models.m.thinking: this model cannot think; leave `thinking` out",
        ),
        (
            config(f"{OPENAI}, model: gpt-5-mini, logprobs: always"),
            "2: models.m.logprobs: this model gives no token probabilities; take auto or never",
        ),
        (
            config("type: openai-compatible, base_url: 'https://api.anthropic.com', model: claude-x"),
            "2: models.m.base_url: Anthropic's own interface is not spoken here",
        ),
        (
            config(f"type: moonshot, model: moonshot-v1-32k, {KEY}", more=", model: m"),
            "8: cameras.c.rules.r.model: m asks moonshot-v1-32k, which takes text only",
        ),
        (
            config(f"type: moonshot, {KEY}", task="{type: ocr, temperature: 0.3}"),
            "8: cameras.c.rules.r.task.temperature: kimi-k2.6 takes no temperature but its own",
        ),
        (
            config("type: ollama, model: 'qwen3-vl:8b', num_ctx: 2048", more=", model: m"),
            "8: cameras.c.rules.r.model: the question needs about 2952 tokens; m has 2048",
        ),
        (
            config(f"type: openrouter, model: anthropic/claude-x, {KEY}", more=BIG_PICTURES),
            "8: cameras.c.rules.r.picture: 12 pictures of 8192 pixels are about",
        ),
        (
            config(f"type: openrouter, privacy: allow, privacy_level: zdr, {KEY}"),
            "privacy and privacy_level say different things; keep privacy",
        ),
        (
            config(f"type: dashscope, model: qwen3.6-plus, thinking: enabled, stream: false, {KEY}"),
            "thinking: enabled needs stream: true here",
        ),
    ],
)
def test_what_a_model_cannot_do_is_told_with_its_place(mistakes: Mistakes, text: str, expected: str) -> None:
    found = [re.sub(r":\d+: ", ": ", line, count=1) for line in mistakes(text, ENVIRON)]
    assert any(expected in line for line in found), found


@pytest.mark.parametrize(
    "model",
    [
        f"type: dashscope, model: kimi/kimi-k2.6, {KEY}, frame_url: {S3}",
        f"type: dashscope, model: qwen3-vl-plus, {KEY}",
        f"type: moonshot, {KEY}",
        f"type: moonshot, model: kimi-k2.7-code, {KEY}",
        f"type: openrouter, {KEY}, provider: {{only: [moonshotai], max_price: {{prompt: 1}}}}",
        "type: ollama, model: 'qwen3-vl:8b'",
        f"{OPENAI}, model: a-stranger, thinking: enabled, logprobs: always",
    ],
)
def test_what_a_model_can_do_or_nobody_knows_is_allowed(load_text: LoadText, model: str) -> None:
    assert load_text(config(model), ENVIRON).warnings == ()


def test_before_its_day_a_model_s_end_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "edgevlm.yaml"
    path.write_text(config(f"type: openrouter, {KEY}"))
    loaded = load(path, environ=ENVIRON)
    endpoint = loaded.config.models["m"].model_copy(update={"model": "kimi-latest"})
    ending = loaded.config.model_copy(update={"models": {"m": endpoint}})
    before, after = Report("f"), Report("f")
    check_abilities(ending, before, date(2026, 1, 27))
    check_abilities(ending, after, date(2026, 1, 28))
    assert [warning.message for warning in before.warnings] == [
        "this model will be switched off on 2026-01-28"
    ]
    assert before.mistakes == ()
    assert "this model was switched off on 2026-01-28" in [mistake.message for mistake in after.mistakes]


def test_a_vendor_s_address_below_the_common_type_is_a_warning(load_text: LoadText) -> None:
    text = config("type: openai-compatible, base_url: 'https://api.moonshot.cn/v1', model: kimi-k2.6")
    [warning] = load_text(text).warnings
    assert warning.hint == "type: moonshot knows this vendor's own ways"
