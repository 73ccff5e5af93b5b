"""Configuration files for the tests beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgevlm.config.load import Loaded, load
from edgevlm.config.mistakes import InvalidConfig

LoadText = Callable[..., Loaded]
Mistakes = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path) -> LoadText:
    """Return a function that loads a text as if it stood in a file."""

    def load_text(text: str | bytes, environ: Mapping[str, str] | None = None) -> Loaded:
        path = tmp_path / "edgevlm.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(path, environ=environ or {})

    return load_text


@pytest.fixture
def mistakes(load_text: LoadText) -> Mistakes:
    """Return a function that gives the mistakes of a text as `line:column: path: message; hint`."""

    def mistakes(text: str | bytes, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(InvalidConfig) as caught:
            load_text(text, environ)
        lines = str(caught.value).splitlines()
        prefix = f"{caught.value.mistakes[0].file}:"
        assert all(line.startswith(prefix) for line in lines)
        return [line.removeprefix(prefix) for line in lines]

    return mistakes
