"""SD.Next's Control tab, which runs only those extensions that are on a list of its own.

SD.Next's modules are imported inside functions, so that this file can be imported without it.
"""

from __future__ import annotations


def take_part_in_control(title: str) -> None:
    """Have the script of this title run for the Control tab's pictures too; call it before the page is built."""
    import installer

    listed = getattr(installer, "control_extensions", None)
    if isinstance(listed, list) and title not in listed:
        listed.append(title)
