"""`docs/models.md` tells the truth: its configurations load, and it names every type."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from edgevlm.infer.config import ModelConfig
from tests.config.conftest import LoadText

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_its_configurations_load_without_a_warning(block: str, load_text: LoadText, tmp_path: Path) -> None:
    for name in re.findall(r"!credential ([\w-]+)", block):
        secret = tmp_path / name
        secret.write_text("0123456789")
        secret.chmod(0o400)
    assert load_text(block, {"CREDENTIALS_DIRECTORY": str(tmp_path)}).warnings == ()


def test_it_names_every_type() -> None:
    sections = get_args(get_args(ModelConfig)[0])
    names = {get_args(section.model_fields["type"].annotation)[0] for section in sections}
    table = set(re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| [^|]+ \|$", PAGE, re.MULTILINE))
    assert names <= table
