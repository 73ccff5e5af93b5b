"""Boxes: which family writes them how, and where they lie in the source."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgevlm.errors import BadAnswer
from edgevlm.infer.boxes import (
    BOX_FORMATS,
    FORMS,
    Frame,
    check_scale,
    default_box_format,
    full_scale,
    qwen_size,
)


@pytest.mark.parametrize(
    ("model", "box_format"),
    [
        ("Qwen/Qwen3-VL-8B-Instruct", "xyxy_0_1000"),
        ("qwen3-vl:8b", "xyxy_0_1000"),
        ("qwen/qwen3.6-27b", "xyxy_0_1000"),
        ("Qwen/Qwen2-VL-7B-Instruct", "xyxy_0_1000"),
        ("Qwen/Qwen2.5-VL-7B-Instruct-AWQ", "resized-absolute"),
        ("qwen2.5vl:7b", "resized-absolute"),
        ("Qwen2_5-VL-3B-Instruct-Q4_K_M.gguf", "resized-absolute"),
        ("zai-org/GLM-4.5V", "xyxy_0_1000"),
        ("THUDM/glm-4.1v-9b-thinking", "xyxy_0_1000"),
        ("OpenGVLab/InternVL3-8B", "xyxy_0_1000"),
        ("google/gemini-3.1-pro-preview", "yxyx_0_1000"),
        ("gemma3:12b", "yxyx_0_1000"),
        ("google/gemma-4-31b-it", "yxyx_0_1000"),
        ("google/paligemma-3b-mix-448", "named_normalized"),
        ("deepseek-ai/deepseek-vl2-small", "xyxy_0_999"),
        ("mistralai/mistral-small-3.2-24b-instruct", "xyxy_0_999"),
        ("llava-v1.6-mistral-7b", "named_normalized"),
        ("meta/muse-1", "named_0_1000"),
        ("x-ai/grok-4.6", "xyxy_percent"),
        ("openai/gpt-5.2", "xyxy_absolute"),
        ("gpt-5.1-2025-11-13", "named_normalized"),
        ("gpt-5-mini", "named_normalized"),
        ("gpt-4o-mini", "xyxy_absolute"),
        ("anthropic/claude-sonnet-4.5", "xyxy_absolute"),
        ("kimi-k2.6", "named_normalized"),
        ("moonshotai/kimi-k2.5", "named_normalized"),
        ("meta-llama/llama-3.2-11b-vision-instruct", "named_normalized"),
        ("my-own-model", "named_normalized"),
    ],
)
def test_default_box_format(model: str, box_format: str) -> None:
    assert default_box_format(model) == box_format


def test_every_format_has_a_form() -> None:
    assert set(FORMS) == set(BOX_FORMATS)


@pytest.mark.parametrize(
    ("size", "resized"),
    [
        ((1280, 720), (1288, 728)),
        ((1288, 728), (1288, 728)),
        ((30, 30), (56, 56)),
        ((6000, 4000), (4368, 2912)),
    ],
)
def test_qwen_size(size: tuple[int, int], resized: tuple[int, int]) -> None:
    """Sizes as `smart_resize` of the family's own preprocessing gives them."""
    assert qwen_size(size) == resized


@given(
    st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)).filter(lambda size: max(size) / min(size) < 200)
)
def test_qwen_sizes_are_multiples_of_28(size: tuple[int, int]) -> None:
    width, height = qwen_size(size)
    assert width % 28 == height % 28 == 0
    assert width * height <= 12_845_056 * 1.3


def test_pixels_of_an_unknown_size_have_no_scale() -> None:
    assert full_scale("xyxy_absolute", None) is None
    assert full_scale("xyxy_absolute", (640, 360)) == (640, 360)


shares = st.floats(-5, 5)
crops = st.tuples(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0.5, 1), st.floats(0.5, 1))


@given(corners=st.tuples(shares, shares, shares, shares), crop=crops)
def test_a_box_never_leaves_its_crop(
    corners: tuple[float, float, float, float], crop: tuple[float, float, float, float]
) -> None:
    frame = Frame((640, 360), (1920, 1080), crop)
    box = frame.place(corners)
    if box is None:
        return
    assert crop[0] - 1e-5 <= box[0] < box[2] <= crop[2] + 1e-5
    assert crop[1] - 1e-5 <= box[1] < box[3] <= crop[3] + 1e-5
    pixels = frame.pixels(box)
    assert pixels is not None
    assert 0 <= pixels[0] <= pixels[2] <= 1920
    assert 0 <= pixels[1] <= pixels[3] <= 1080


def test_a_box_too_thin_to_be_written_down_is_none() -> None:
    assert Frame().place((0.5, 0.1, 0.5 + 1e-9, 0.9)) is None


@pytest.mark.parametrize(
    ("full", "sent", "boxes", "fits"),
    [
        ((1.0, 1.0), None, [(0.1, 0.2, 1.05, 0.6)], True),
        ((1.0, 1.0), None, [(0.1, 0.2, 3.0, 0.6)], False),
        ((1000.0, 1000.0), None, [(1, 2, 1040, 6)], True),
        ((1000.0, 1000.0), (1920, 1080), [(1, 2, 1800, 6)], False),
        ((1000.0, 1000.0), None, [(0.1, 0.2, 0.5, 0.6), (0.1, 0.2, 1, 1)], False),
        ((1000.0, 1000.0), None, [(0.1, 0.2, 0.5, 0.6), (100, 200, 500, 600)], True),
        ((1280.0, 720.0), (1280, 720), [(100, 100, 1000, 1000)], False),
        ((1000.0, 1000.0), None, [(1, 2, 1e9, 6)], True),
        ((1000.0, 1000.0), None, [], True),
    ],
)
def test_check_scale(
    full: tuple[float, float],
    sent: tuple[int, int] | None,
    boxes: list[tuple[float, float, float, float]],
    fits: bool,
) -> None:
    if fits:
        check_scale(boxes, full, sent)
    else:
        with pytest.raises(BadAnswer):
            check_scale(boxes, full, sent)


def test_sizes_without_end_are_no_trouble() -> None:
    assert math.isfinite(sum(full_scale("resized-absolute", (1, 1)) or ()))
