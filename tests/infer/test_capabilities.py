"""The table of families: which rows meet which names, and what a picture costs."""

from __future__ import annotations

import pytest

from edgevlm.infer.capabilities import abilities_of
from edgevlm.infer.pictures import estimate_tokens


@pytest.mark.parametrize(
    ("model", "images"),
    [
        ("kimi-k2.6", True),
        ("moonshotai/kimi-k2.5", True),
        ("kimi-k2-0905-preview", False),
        ("moonshot-v1-8k", False),
        ("moonshot-v1-8k-vision-preview", True),
        ("Qwen/Qwen3-VL-8B-Instruct", True),
        ("qwen2.5vl:7b", True),
        ("Qwen3-8B", False),
        ("Qwen3.5-9B", True),
        ("gemma3:4b", True),
        ("gemma-3-1b-it", False),
        ("llama3.2-vision:11b", True),
        ("llama-3.3-70b", False),
        ("gpt-4o-mini", True),
        ("o3-mini", False),
        ("a-stranger", None),
    ],
)
def test_who_can_see(model: str, images: bool | None) -> None:
    assert abilities_of(model).images is images


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("kimi-k2.6", "optional"),
        ("kimi-k2.7-code-highspeed", "always"),
        ("kimi-k3", "always"),
        ("Qwen3-VL-8B-Instruct", "none"),
        ("Qwen3-VL-8B-Thinking", "always"),
        ("Qwen3.5-9B", "optional"),
        ("qwen2.5vl:7b", "none"),
        ("gpt-4o", "none"),
        ("gpt-5-mini", "always"),
        ("gpt-5.2", "optional"),
        ("gemini-2.5-pro", "always"),
        ("toy", "unknown"),
    ],
)
def test_who_thinks(model: str, thinking: str) -> None:
    assert abilities_of(model).thinking == thinking


def test_only_moonshot_s_own_models_on_dashscope_need_urls() -> None:
    assert abilities_of("kimi/kimi-k2.6", "dashscope").pictures_by_url
    assert not abilities_of("kimi-k2.6", "dashscope").pictures_by_url
    assert not abilities_of("qwen3-vl-plus", "dashscope").pictures_by_url
    assert not abilities_of("kimi-k2.6", "moonshot").pictures_by_url


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        ("kimi-k2.6", (1920, 1080), 2_700),
        ("kimi-k2.6", (640, 360), 300),
        ("kimi-k2.6", (8000, 6000), 4_100),
        ("qwen2.5-vl-7b", (1280, 720), 1_200),
        ("Qwen3-VL-8B-Instruct", (1920, 1080), 2_040),
        ("gpt-4o", (1920, 1080), 1_105),
        ("gpt-4o", (640, 360), 425),
        ("gemini-2.5-flash", (1920, 1080), 1_548),
        ("gemini-3-pro", (640, 360), 1_120),
        ("claude-sonnet", (1280, 720), 1_196),
        ("gemma3:4b", (1920, 1080), 256),
        ("a-stranger", (1, 1), 4),
    ],
)
def test_what_a_picture_costs(model: str, size: tuple[int, int], tokens: int) -> None:
    assert estimate_tokens(model, *size) == pytest.approx(tokens, rel=0.05)
