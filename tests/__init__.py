"""Tests mirror the package; `integration` holds those that need real servers."""
