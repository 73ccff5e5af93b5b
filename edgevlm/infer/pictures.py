"""How large a picture is sent, and how many tokens that costs, family by family.

For budgets, forecasts and the context's length. Tokens are an estimate: a server may have been told other
limits. Where the usage is told, it counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from edgevlm.infer.backend import Prompt
from edgevlm.infer.boxes import Size, qwen_size
from edgevlm.infer.capabilities import Abilities, PictureTokens, abilities_of
from edgevlm.records import Picture, Usage

DEFAULT_MAX_SIDE = 1280
_MAX_SIDE_BY_TASK = {"ocr": 1920}


def default_max_side(task: str) -> int:
    """Return the longest side of a picture in pixels: small print needs more than a scene does."""
    return _MAX_SIDE_BY_TASK.get(task, DEFAULT_MAX_SIDE)


def estimate_tokens(model: str, width: int, height: int, vendor: str = "") -> int:
    """Return about how many tokens `model` makes of a picture of this size."""
    return picture_tokens(abilities_of(model, vendor), (width, height))


def picture_tokens(abilities: Abilities, size: Size) -> int:
    """Return about how many tokens a model with these abilities makes of a picture."""
    if abilities.picture_tokens == "fixed":
        return abilities.fixed_tokens
    return _RULES[abilities.picture_tokens](size)


def settled(
    usage: Usage, abilities: Abilities, prompt: Prompt, pictures: Sequence[Picture], text: str
) -> Usage:
    """Return `usage` with an estimate for what the server did not tell, and marked then."""
    if usage.prompt_tokens is not None and usage.completion_tokens is not None:
        return usage
    shown = sum(picture_tokens(abilities, (picture.width, picture.height)) for picture in pictures)
    asked = shown + text_tokens(prompt.user) + text_tokens(prompt.system or "")
    said = text_tokens(text) or None  # nothing visible is not the same as nothing generated
    return replace(
        usage,
        prompt_tokens=asked if usage.prompt_tokens is None else usage.prompt_tokens,
        completion_tokens=said if usage.completion_tokens is None else usage.completion_tokens,
        estimated=True,
    )


def text_tokens(text: str) -> int:
    """Return about how many tokens a text is, on the high side: scripts differ, so bytes are counted."""
    return -(-len(text.encode()) // 3)


def _patches(size: Size, side: int) -> int:
    return math.ceil(size[0] / side) * math.ceil(size[1] / side)


def _patch_28(size: Size) -> int:
    return _patches(qwen_size(size), 28)


def _patch_32(size: Size) -> int:
    return _patches(size, 32)


def _kimi(size: Size) -> int:
    """MoonViT: at most 16384 patches of 14 pixels, four to a token."""
    return _patches(_shrunk(size, 16384 * 14 * 14), 28)


def _openai_tiles(size: Size) -> int:
    """Fit into 2048 by 2048, then the short side to 768; 170 a tile of 512, and 85."""
    fitted = min(1.0, 2048 / max(size))
    scale = fitted * min(1.0, 768 / (min(size) * fitted))
    return 85 + 170 * _patches((math.ceil(size[0] * scale), math.ceil(size[1] * scale)), 512)


def _gemini_tiles(size: Size) -> int:
    """258 for a small picture, else 258 a tile of two thirds of the short side."""
    if max(size) <= 384:
        return 258
    tile = min(768, max(256, int(min(size) / 1.5)))
    return 258 * _patches(size, tile)


def _claude(size: Size) -> int:
    """At most 1568 pixels a side and 1568 tokens."""
    scale = min(1.0, 1568 / max(size))
    return min(1568, _patches((max(1, int(size[0] * scale)), max(1, int(size[1] * scale))), 28))


def _shrunk(size: Size, most_pixels: int) -> Size:
    scale = min(1.0, math.sqrt(most_pixels / (size[0] * size[1])))
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


_RULES: dict[PictureTokens, Callable[[Size], int]] = {
    "patch-28": _patch_28,
    "patch-32": _patch_32,
    "kimi": _kimi,
    "openai-tiles": _openai_tiles,
    "gemini-tiles": _gemini_tiles,
    "claude": _claude,
}
