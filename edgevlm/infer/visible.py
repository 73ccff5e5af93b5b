"""What a completion shows: its text without reasoning, special tokens and characters that nobody sees.

Every text that leaves the infer stage has gone through here, so that no answer can hide, reorder or break
what is displayed or sent further on: no control characters but line break and tab, no bidirectional controls,
no invisible tags, no lone surrogates (they cannot be encoded).
"""

from __future__ import annotations

import json
import re

MAX_COMPLETION_CHARS = 262_144
"""Longest text that is read; the rest is cut off as if the server had stopped there."""
MAX_RAW_CHARS = 2_000
"""Longest `raw` of a result."""

_REASONING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),  # Kimi-VL
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel>thought", "<channel|>"),  # Gemma 4
    ("<|channel|>analysis", "<|channel|>final<|message|>"),  # gpt-oss
)
_BLOCKS = re.compile(
    "|".join(f"{re.escape(start)}.*?(?:{re.escape(end)}|\\Z)" for start, end in _REASONING),
    re.DOTALL | re.IGNORECASE,
)
_ENDS = re.compile("|".join(re.escape(end) for _, end in _REASONING), re.IGNORECASE)
_SPECIAL = re.compile(
    r"<\|(?:im_end|im_start|endoftext|end|eot_id|return|assistant|user|eos|begin_of_box|end_of_box)\|>"
    r"|<end_of_turn>|<start_of_turn>|<eos>|<turn\|>|</s>\s*\Z|<pad>",
    re.IGNORECASE,
)
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # control characters but tab, line feed, carriage return
    "\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff"  # direction, zero width
    "\ufff9-\ufffb\U000e0000-\U000e007f]"  # annotations, tags
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?")


def clean(text: str) -> str:
    """Return `text` without characters that hide, reorder or break."""
    text = _LINE_ENDS.sub("\n", _SURROGATES.sub("\ufffd", text))
    return _HIDDEN.sub("", text)


def one_line(text: str) -> str:
    """Return `text` clean and in one line."""
    return " ".join(clean(text).split())


def visible_text(text: str) -> str:
    """Return what a completion says: reasoning is never part of it, not even when it has no end."""
    text = text[:MAX_COMPLETION_CHARS]
    if _is_json(text):  # marks within its strings are text out of the picture
        return clean(text).strip()
    text = _BLOCKS.sub("", text)
    # What is left of an end had its start in the prompt, as some chat templates have it.
    text = text[reasoning_end(text) :]
    return clean(_SPECIAL.sub("", text)).strip()


def reasoning_end(text: str) -> int:
    """Return where in `text` the last reasoning block has ended; 0 when there is none."""
    return max((found.end() for found in _ENDS.finditer(text)), default=0)


def bounded_raw(text: str) -> str:
    """Return what came back as the result's `raw` shows it: bounded, and possible to encode."""
    return _SURROGATES.sub("\ufffd", text[:MAX_RAW_CHARS])


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return False
    return True
