"""The parts of `benchmarks/selection.py`: material, made scenes, baselines, scoring, report."""
