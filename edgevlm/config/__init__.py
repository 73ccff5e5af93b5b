"""One YAML file: composed of the stages' own sections, read with the place of every mistake."""
