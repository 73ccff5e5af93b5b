"""Rules with clips: what `check` says of them, and what becomes of them in the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgevlm.config.load import load
from edgevlm.plan import Plan, plans_of
from edgevlm.records import ClipShot
from tests.config.conftest import LoadText, Mistakes

KEY = "api_key: !env K"
LOCAL = "type: openai-compatible, base_url: 'http://10.0.0.5/v1', model: "
QWEN = LOCAL + "Qwen/Qwen3-VL-8B-Instruct"
S3 = "{type: s3, endpoint: 'https://s3.example.org', bucket: frames, access_key: !env K, secret_key: !env K}"


def config(
    clip: str | None = "{}",
    *,
    model: str = QWEN,
    task: str = "{type: caption}",
    more: str = "",
    camera: str = "",
    sink: str = "{type: stdout}",
) -> str:
    shown = f"\n        clip: {clip}" if clip is not None else ""
    return (
        f"models:\n  m: {{{model}}}\nsinks: {{s: {sink}}}\ncameras:\n  c:\n"
        f"    source: {{type: usb, device: x}}\n{camera}    rules:\n"
        f"      r:\n        trigger: {{type: command}}\n        task: {task}{shown}{more}\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            config(model="type: ollama, model: 'qwen3-vl:8b'"),
            (
                "11: cameras.c.rules.r.clip: m asks qwen3-vl:8b, which takes no video; "
                "take `frames`, or name a model that takes video"
            ),
        ),
        (
            config(model="type: embedded", task="{type: ocr}"),
            (
                "11: cameras.c.rules.r.clip: m asks embedded, which takes no video; "
                "take `frames`, or name a model that takes video"
            ),
        ),
        (
            config(model=LOCAL + "google/gemma-3-4b-it"),
            (
                "11: cameras.c.rules.r.clip: m asks google/gemma-3-4b-it, which takes no video; "
                "take `frames`, or name a model that takes video"
            ),
        ),
        (
            config(model=f"type: dashscope, model: kimi/kimi-k2.6, {KEY}, frame_url: {S3}"),
            (
                "11: cameras.c.rules.r.clip: m takes video by URL only, which clips do not have; "
                "take `frames`, or the same model from type: moonshot"
            ),
        ),
        (
            config("{before_secs: 8, after_secs: 4}"),
            (
                "11: cameras.c.rules.r.clip.before_secs: the ring holds 10 s; "
                "raise the camera's `ring_secs` to 12 or more"
            ),
        ),
        (
            config("{before_secs: 0}"),
            (
                "11: cameras.c.rules.r.clip.before_secs: a clip of no length shows nothing; "
                "say how far back it begins, e.g. 4"
            ),
        ),
        (
            config(more="\n        frames: {count: 3, before_secs: 2}"),
            (
                "11: cameras.c.rules.r.clip: a rule asks about a clip or about several frames, not both; "
                "remove `clip` or `frames`"
            ),
        ),
        (
            config(task="{type: object-detection}"),
            (
                "11: cameras.c.rules.r.clip: boxes belong to one picture, not to a clip; "
                "remove `clip`, or take another task"
            ),
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_line(text: str, expected: str, mistakes: Mistakes) -> None:
    assert [_without_column(told) for told in mistakes(text, {"K": "0123456789"})] == [expected]


def _without_column(told: str) -> str:
    line, _, rest = told.partition(":")
    return f"{line}:{rest.partition(':')[2]}"


@pytest.mark.parametrize(
    "model", [QWEN, f"type: moonshot, model: kimi-k2.6, {KEY}", f"type: openrouter, model: q/qwen3-vl, {KEY}"]
)
def test_models_that_take_video_draw_no_word(model: str, load_text: LoadText) -> None:
    assert load_text(config(model=model), {"K": "0123456789"}).warnings == ()


def test_a_strange_model_draws_a_warning(load_text: LoadText) -> None:
    warnings = load_text(config(model=LOCAL + "acme-vision")).warnings
    assert any("not known whether acme-vision takes video" in str(warning) for warning in warnings)


# --- the plan -----------------------------------------------------------------------------------------------


def plan(tmp_path: Path, text: str) -> Plan:
    path = tmp_path / "edgevlm.yaml"
    path.write_text(text, encoding="utf-8")
    return plans_of(load(path).config, "c")["r"]


def test_a_rule_asks_about_the_clip_that_it_names(tmp_path: Path) -> None:
    text = config("{before_secs: 3, after_secs: 1, fps: 2}", more="\n        picture: {max_side: 640}")
    planned = plan(tmp_path, text)
    assert planned.clip == ClipShot(3, 1, 2, max_side=640, max_bytes=14_250_000, asked=True)
    assert not planned.keeps_clip


def test_a_crop_holds_for_the_clip(tmp_path: Path) -> None:
    text = config("{}", more="\n        picture: {crop: [0.5, 0.5, 1, 1], margin: 0}")
    clip = plan(tmp_path, text).clip
    assert clip is not None
    assert clip.crop == (0.5, 0.5, 1.0, 1.0)


@pytest.mark.parametrize(("ring_secs", "expected"), [(60, 10), (5, 5)])
def test_evidence_is_the_last_ten_seconds(tmp_path: Path, ring_secs: int, expected: int) -> None:
    text = config(None, sink="{type: file, evidence: [clip]}", camera=f"    ring_secs: {ring_secs}\n")
    planned = plan(tmp_path, text)
    assert planned.clip == ClipShot(expected)
    assert planned.keeps_clip


@pytest.mark.parametrize("evidence", ["[]", "[picture]"])
def test_where_nobody_wants_a_clip_there_is_none(tmp_path: Path, evidence: str) -> None:
    planned = plan(tmp_path, config(None, sink=f"{{type: file, evidence: {evidence}}}"))
    assert (planned.clip, planned.keeps_clip) == (None, False)
