"""The names of a concept: a word in prompts and a file on any system; how one is made of any text. The one place that
knows "-neg"."""

from __future__ import annotations

import re
import unicodedata

from .errors import SettingError

NEGATIVE_SUFFIX = "-neg"


MAX_NAME_LENGTH = 64


MAX_VECTORS = 75  # more would overflow one chunk of the prompt


_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")


_KEYWORD = re.compile(r"\b(AND|BREAK)\b")  # of the WebUI's prompts, as it looks for them


_RESERVED = frozenset(["con", "prn", "aux", "nul", *(f"com{n}" for n in range(10)), *(f"lpt{n}" for n in range(10))])


SHORTEST_MADE = 3  # letters and digits: a shorter word is a part of others, as "t" is of "t-shirt"


_SHARP = str.maketrans({"ß": "ss", "ẞ": "SS"})
# Latin letters that Unicode calls by a name of more than two letters.
_SPOKEN = {
    **{"SCHWA": "e", "ALPHA": "a", "BETA": "b", "GAMMA": "g", "DELTA": "d", "IOTA": "i", "LAMBDA": "l", "OMEGA": "o"},
    **{"UPSILON": "u", "PHI": "ph", "CHI": "ch", "ENG": "ng", "ETH": "d", "THORN": "th", "ESH": "sh", "TESH": "ch"},
    **{"EZH": "zh", "YOGH": "gh", "WYNN": "w", "KRA": "q", "HENG": "h", "HWAIR": "hv"},
    **{"DEZH": "j", "LEZH": "lzh", "TWO": "dz"},
}
_UNSEEN = frozenset(["Mn", "Me", "Cf"])  # Unicode's categories: accents, circles around letters, soft hyphens


def negative_name(name: str) -> str:
    """The word that stands for the other half of `name`."""
    return name + NEGATIVE_SUFFIX


def positive_name(word: str) -> str:
    """The name of the pair that a word belongs to by its ending."""
    return word[: -len(NEGATIVE_SUFFIX)] if word.lower().endswith(NEGATIVE_SUFFIX) else word


def check_name(name: str) -> str:
    """Return the name, or raise SettingError: it becomes both a word in prompts and a file on any system."""
    if len(name) > MAX_NAME_LENGTH:
        raise SettingError(f"name must have at most {MAX_NAME_LENGTH} characters, got {len(name)}.")
    if not _NAME.fullmatch(name):
        raise SettingError(
            "name must be letters a-z, digits, - and _ only, beginning and ending with a letter or digit, "
            f"got {_shown(name)}."
        )
    if name.lower().endswith(NEGATIVE_SUFFIX):
        raise SettingError(f'name must not end with "{NEGATIVE_SUFFIX}", which marks the negative half, got "{name}".')
    if cut := _KEYWORD.search(name):
        raise SettingError(f'name must not hold the word {cut[0]}, at which prompts are cut in two, got "{name}".')
    if name.lower() in _RESERVED:
        raise SettingError(f'name must not be "{name}", which Windows reserves.')
    return name


def readable_name(text: str) -> str:
    """The nearest name in letters a-z, digits, - and _, or nothing: `été` and `My cat (1)` become `ete` and `My-cat-1`.

    The same for composed and decomposed letters, as systems write them. Letters of other scripts are left out: how they
    are read depends on the language, and some look like Latin ones. Words at which prompts are cut are made small.
    """
    letters = unicodedata.normalize("NFKD", text[: 4 * MAX_NAME_LENGTH].translate(_SHARP))
    plain = "".join(map(_plain_letter, letters))
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", plain)[:MAX_NAME_LENGTH].strip("-_")
    return _KEYWORD.sub(lambda word: word[0].lower(), name)


def _plain_letter(letter: str) -> str:
    """What it is in a-z if it is Latin, `l` of `ł`, by what Unicode calls it; nothing of what only changes others."""
    if letter.isascii():
        return letter
    if unicodedata.category(letter) in _UNSEEN:
        return ""
    script, _, called = unicodedata.name(letter, "").partition(" ")
    words = called.partition(" WITH ")[0].split() if script == "LATIN" else []
    plain = next((_SPOKEN.get(word, word) for word in reversed(words) if len(word) < 3 or word in _SPOKEN), letter)
    if not called.startswith("CAPITAL "):
        return plain.lower() if words else plain
    return plain if plain.isupper() else plain.capitalize()


def is_long_enough(name: str) -> bool:
    """Whether a name that nobody has chosen is long enough to be a word of its own."""
    return sum(c.isalnum() for c in name) >= SHORTEST_MADE


def name_of_file(stem: str) -> str:
    """The name that a picture's file gives; raises SettingError where it gives none that can be used unasked."""
    name = readable_name(stem)
    if not name:
        raise SettingError(
            f"its name, {_shown(stem)}, has no letters a-z or digits to make a word of; rename the picture, for "
            "example to mycat."
        )
    if not is_long_enough(name):
        raise SettingError(
            f'its name, {_shown(stem)}, gives the word "{name}", which is a part of other words; rename the picture '
            f"to {SHORTEST_MADE} letters or more, for example to {name}-thing."
        )
    return name


def _shown(name: str) -> str:
    return '"' + "".join(c if c.isprintable() else "?" for c in name) + '"'
