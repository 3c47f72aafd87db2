"""One setting: how a dataclass describes it, and how a value from outside is taken or refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import Field, field
from typing import Any

from .errors import SettingError
from .prompts import is_one_line


def option(
    default: Any,
    label: str,
    help: str,
    group: str,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A field with what a user interface needs: label, one line of help, group, unit, range or the words it can be."""
    about = {"label": label, "help": help, "group": group, "unit": unit, "choices": tuple(choices)}
    return field(default=default, metadata=about | {"least": least, "most": most, "above": above})


def field_type(item: Field) -> type:
    """The Python type of a setting: int, float, bool or str."""
    return _TYPES[item.type]


def converted(item: Field, value: Any) -> Any:
    """The value as the setting's type, numbers also from text; raises SettingError for another kind of value."""
    kind = field_type(item)
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is str and is_number:  # a JSON file may say "learning_rate": 0.005
        return str(value)
    if kind is not bool and kind is not str and (isinstance(value, str) or (is_number and _is_whole(value, kind))):
        try:
            return kind(value)
        except (ValueError, OverflowError):
            raise _wrong_kind(item, value) from None
    raise _wrong_kind(item, value)


def _wrong_kind(item: Field, value: Any) -> SettingError:
    return SettingError(f"{item.name} must be {_KINDS[field_type(item)]}, got {_shown(value)}.")


_TYPES: dict[Any, type] = {"int": int, "float": float, "bool": bool, "str": str}  # annotations are text
_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def check(item: Field, value: Any) -> None:
    """Raises SettingError, in a sentence that names the setting and the value."""
    kind = field_type(item)
    plain = isinstance(value, (int, float)) and not isinstance(value, bool) if kind is float else type(value) is kind
    if not plain:
        raise _wrong_kind(item, value)
    if kind is str and not is_one_line(value):
        raise SettingError(f"{item.name} must be one line of plain text, got {_shown(value)}.")
    if item.metadata["choices"] and value not in item.metadata["choices"]:
        raise SettingError(f"{item.name} must be one of {', '.join(item.metadata['choices'])}, got {_shown(value)}.")
    if kind in (int, float):
        _check_range(item, value)


def _is_whole(value: float, kind: type) -> bool:
    return isinstance(value, int) or kind is float or (math.isfinite(value) and value.is_integer())


def _shown(value: Any) -> str:
    """The value as a user gave it, cut to what fits a sentence."""
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _check_range(item: Field, value: float) -> None:
    least, most, above = (item.metadata[key] for key in ("least", "most", "above"))
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingError(f"{item.name} must be a finite number, got {value}.")
    if above is not None and value <= above:
        raise SettingError(f"{item.name} must be more than {above:g}, got {_shown(value)}.")
    if least is not None and value < least:
        raise SettingError(f"{item.name} must be at least {least:g}, got {_shown(value)}.")
    if most is not None and value > most:
        raise SettingError(f"{item.name} must be at most {most:g}, got {_shown(value)}.")
