"""Names for tables that describe nothing: columns, categories and subjects put together from everyday words."""

import string
from collections.abc import Callable

import numpy as np


def _listed(words: str) -> list[str]:
    return words.split()


NOUNS = _listed(
    "age area balance batch bill branch budget campus cargo case chain charge claim class client cost count crew day "
    "debt delay demand depth desk distance dose draft duration effort energy engine entry event fare fee field fleet "
    "flow fuel garden gate grade group growth guest harvest height hour house index income input interest item "
    "journey lane layer lease length level limit load loan margin market member meter minute model month motor note "
    "office order origin output owner parcel part payment period person phase pipe place plan plant plot point "
    "pressure price product profit quality quota range rank rate rating reading region rent report reserve result "
    "return revenue risk road room route salary sample scale score season sector sensor series service session shift "
    "ship shop signal site size skill slot source space speed staff stage start station status stock storage store "
    "stream street supply surface survey system target tax team term test ticket time tool total tower track trade "
    "train transfer trend trip truck type unit usage value vessel visit volume voltage wage water weight width wind "
    "work yard year yield zone"
)
QUALIFIERS = _listed(
    "active actual annual average base big cold current daily damaged domestic double dry early east empty external "
    "extra fast final first fixed flat foreign former free front full global gross heavy high hourly initial inner "
    "joint large last late left light local long low main major max mean min minor mixed monthly net new north old "
    "open outer own partial past peak planned prior private public quick rare raw real recent red green blue regular "
    "remote rented right rural safe second self short single slow small south spare static steady sub third total "
    "upper urban used usual weekly west wet wide"
)
ANSWERS = (
    "no yes",
    "false true",
    "bad good",
    "negative positive",
    "absent present",
    "off on",
    "low high",
    "fail pass",
    "closed open",
    "N Y",
    "A B",
)
UNITS = ("cm", "m", "kg", "km", "%", "h", "min", "s", "kWh", "days", "mm", "l")


def _capital(words: list[str]) -> str:
    return "".join(word.capitalize() for word in words)


STYLES: tuple[Callable[[list[str]], str], ...] = (
    "_".join,
    "-".join,
    " ".join,
    ".".join,
    _capital,
    lambda words: " ".join(words).capitalize(),
    lambda words: " ".join(map(str.capitalize, words)),
    lambda words: "_".join(words).upper(),
    lambda words: words[0] + _capital(words[1:]),
)


def _words(rng: np.random.Generator, most: int) -> list[str]:
    qualifiers = [str(rng.choice(QUALIFIERS)) for _ in range(rng.integers(0, most))]
    return [*qualifiers, str(rng.choice(NOUNS))]


def _invented(rng: np.random.Generator) -> str:
    """A word that is none."""
    parts = [str(rng.choice(list("bcdfghklmnprstvz"))) + str(rng.choice(list("aeiou"))) for _ in range(rng.integers(1, 4))]
    return "".join(parts) + str(rng.choice(list("nrstlkm ").copy())).strip()


def column_names(rng: np.random.Generator, n: int) -> list[str]:
    """n distinct column names in one style of writing; a table in six has codes for names (X1, V2, …)."""
    if rng.random() < 1 / 6:
        stem = str(rng.choice(["X", "V", "f", "col_", "attr", "Q", "feature_"]))
        start = int(rng.integers(0, 2))
        return [f"{stem}{start + place}" for place in range(n)]
    style = STYLES[rng.integers(len(STYLES))]
    names: dict[str, None] = {}
    while len(names) < n:
        name = style(_words(rng, 3) if rng.random() < 0.9 else [_invented(rng)])
        if rng.random() < 0.06:
            name += f"({rng.choice(UNITS)})"
        elif rng.random() < 0.08:
            name += str(rng.integers(1, 10))
        names[name] = None
    return list(names)


def category_names(rng: np.random.Generator, n: int) -> list[str]:
    """n distinct category names: words, two words, invented words, letters, or codes such as A11."""
    if n == 2 and rng.random() < 0.5:
        return str(rng.choice(ANSWERS)).split()
    kind = rng.random()
    if kind < 0.3:
        stem = str(rng.choice(list(string.ascii_uppercase))) + str(rng.choice(["", "", "-", "_"]))
        start, width = int(rng.choice([0, 1, 1, 10, 20, 100])), int(rng.integers(1, 4))
        return [f"{stem}{start + place:0{width}d}" for place in range(n)]
    if kind < 0.4 and n <= len(string.ascii_uppercase):
        letters = string.ascii_uppercase if rng.random() < 0.7 else string.ascii_lowercase
        return list(letters[:n])
    style = STYLES[rng.integers(len(STYLES))]
    invented = rng.random() < 0.25
    names: dict[str, None] = {}
    while len(names) < n:
        name = _invented(rng) if invented else style(_words(rng, 3))
        if rng.random() < 0.05:
            name += f" {rng.integers(1, 100)}"
        names[name] = None
    return list(names)


def number_codes(rng: np.random.Generator, n: int) -> list[int]:
    """n distinct whole numbers that stand for categories: mostly 0, 1, 2, …"""
    if rng.random() < 0.8:
        return list(range(start := int(rng.integers(0, 2)), start + n))
    return sorted(rng.choice(10 * n, n, replace=False).tolist())


def subject(rng: np.random.Generator) -> str:
    """What a table's rows describe, as in "5 tabular data about {subject}"; now and then nothing."""
    return "" if rng.random() < 0.05 else " ".join(_words(rng, 3)) + "s"


def answers(rng: np.random.Generator, classes: int) -> list[str]:
    """Words that stand for the classes in the answer to a question."""
    if classes == 2:
        return str(rng.choice(ANSWERS)).split()
    return list(string.ascii_uppercase[:classes])
