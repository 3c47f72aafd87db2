"""Where tasks say how far they are, and hear whether to stop."""

from __future__ import annotations


class Board:
    """Steps by group; a group that is tried again says all of its own anew."""

    def __init__(self) -> None:
        self._groups: dict[int, tuple[int, int]] = {}
        self._is_stopped = False

    def tell(self, group: int, made: int, spared: int) -> bool:
        """made: steps of this attempt. spared: steps that need not be made. Returns whether to stop."""
        self._groups[group] = (made, spared)
        return self._is_stopped

    def counts(self) -> tuple[int, int]:
        """Steps made and spared, in all."""
        return sum(made for made, _ in self._groups.values()), sum(spared for _, spared in self._groups.values())

    def begun(self) -> set[int]:
        return set(self._groups)

    def stop(self) -> None:
        self._is_stopped = True
