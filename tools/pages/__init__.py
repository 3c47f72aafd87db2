"""The parts of the documentation that the program itself writes. `python -m tools.pages` rewrites them in place."""
