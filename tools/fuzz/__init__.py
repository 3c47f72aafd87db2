"""Fuzzing of the readers of strangers' files, with coverage; see `python -m tools.fuzz --help`. Imports files."""
