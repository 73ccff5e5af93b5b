"""Measurements of edgevlm beside what one would do without it; see README.md here."""
