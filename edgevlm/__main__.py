"""Entry point of the `edgevlm` command and of `python -m edgevlm`."""

from __future__ import annotations

from edgevlm.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
