"""`docs/offline.md`: the comparison's rows are judged, and its codes are those that the report knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgevlm.config.compatibility import judge
from tests.config.conftest import LoadText

PAGE = Path(__file__).parents[2] / "docs" / "offline.md"
ROWS = re.findall(
    r"(?m)^\| [^|]+ \| (model|sink|source) `(\{[^`]+\})` \| needs (\w+): (\w+) \|", PAGE.read_text()
)


def test_the_comparison_has_its_rows() -> None:
    assert len(ROWS) >= 13


@pytest.mark.parametrize(("kind", "section", "needs", "verdict"), ROWS)
def test_each_row_is_true(load_text: LoadText, kind: str, section: str, needs: str, verdict: str) -> None:
    told: dict[str, Any] = yaml.safe_load(section)
    config = {"cameras": {"x": {"source": told}}} if kind == "source" else {f"{kind}s": {"x": told}}
    found = judge(load_text(yaml.safe_dump(config)).config, connectivity="air-gapped", environ={})
    part = next(part for part in found.components if part.title == f"{kind}:x")
    assert (part.needs, part.code or part.verdict) == (needs, verdict)


def test_every_code_is_explained() -> None:
    sources = (Path(__file__).parents[2] / "edgevlm" / "config").glob("*.py")
    text = "".join(path.read_text() for path in sources if path.stem in {"compatibility", "needs"})
    known = set(re.findall(r'"([a-z]+_[a-z_]+)"', text)) - {"public_endpoint", "frame_url"}
    explained = set(re.findall(r"(?m)^\| `([a-z]+_[a-z_]+)` \|", PAGE.read_text()))
    assert explained == known
