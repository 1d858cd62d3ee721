"""Defines a setting and the kinds of its values: how they are described, read and written. Pure.

A kind says in words what it expects, with its unit, its range and an example. Help texts and
messages show these words, so that neither can promise what the other refuses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")

PREFIX: Final = "--sd-"
"""The beginning of sdperf's options of pytest, which no other plugin uses."""

AUTO: Final = "auto"
"""The word that a user types to leave a choice open."""

MOST_COUNTED: Final = 1_000_000
"""The largest number of rounds or images that a setting accepts."""

MOST_SECONDS: Final = 10_000 * 3600
"""The longest duration that a setting accepts; `sdperf.waiting` cuts many times as much."""

MOST_CHARACTERS: Final = 4096
"""The most characters of a setting's text; no path of a system is longer."""

_UNITS: Final = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_LORA: Final = re.compile(
    r"(?P<file>[^:,]+\.safetensors)(:(?P<scale>-?[0-9.]{1,18}))?(?P<fused>:fused)?", re.IGNORECASE
)
_DIGITS: Final = r"[0-9.]{1,18}"
_NUMBER: Final = rf"\s*({_DIGITS})\s*"
_SIZE: Final = rf"{_NUMBER}([KMG]iB)\s*"


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of value: how it is described, read and written.

    Attributes:
        expected: The accepted values in words; empty where any text is accepted.
        parse: Reads a text; raises `ValueError` with what it expects.
        format: Writes a value in the form that `parse` reads.
    """

    expected: str
    parse: Callable[[str], T]
    format: Callable[[T], str] = str


def _make(
    expected: str, find: Callable[[str], T | None], format_: Callable[[T], str] = str
) -> Kind[T]:
    """Make a kind from a reader that returns ``None``, or raises `ValueError`, for a bad text."""

    def parse(text: str) -> T:
        try:
            found = find(text.strip())
        except ValueError:
            found = None
        if found is None:
            raise ValueError(expected)
        return found

    return Kind(expected, parse, format_)


def whole(least: int = 1, most: int = MOST_COUNTED, step: int = 1) -> Kind[int]:
    """Return the kind of whole numbers, multiples of a step in a range, both ends included."""

    def find(text: str) -> int | None:
        is_whole = re.fullmatch(r"[0-9]{1,19}", text, re.ASCII)
        is_fit = is_whole and least <= int(text) <= most and not int(text) % step
        return int(text) if is_fit else None

    what = "a whole number" if step == 1 else f"a multiple of {step}"
    return _make(f"{what}, {least} to {most}", find)


def number(least: float, most: float, unit: str = "a number") -> Kind[float]:
    """Return the kind of numbers in a range, both ends included."""
    expected = f"{unit}, {least:g} to {most:g}"
    return _make(expected, lambda text: _within(float(text), least, most), format_number)


def positive(unit: str) -> Kind[float]:
    """Return the kind of finite numbers above 0."""
    return _make(f"{unit} above 0", _require_positive, format_number)


def duration(*, takes_zero: bool = False) -> Kind[float]:
    """Return the kind of durations, in seconds: without a unit they are typed in seconds."""

    def find(text: str) -> float | None:
        found = re.fullmatch(rf"({_DIGITS}(?:[eE][+-]?[0-9]{{1,3}})?)\s*([smh]?)", text, re.ASCII)
        value = None if found is None else float(found[1]) * _SECONDS[found[2] or "s"]
        is_fit = value is not None and value <= MOST_SECONDS and (takes_zero or value > 0)
        return value if is_fit else None

    words = "seconds, or with a unit such as 90s, 15m or 2h"
    least = "0 or more" if takes_zero else "above 0"
    return _make(f"{words}; {least}, at most {MOST_SECONDS // 3600}h", find, format_duration)


def or_word(word: str, kind: Kind[float]) -> Kind[float | str]:
    """Return the kind that takes one word beside its numbers."""

    def parse(text: str) -> float | str:
        if text.strip() == word:
            return word
        try:
            return kind.parse(text)
        except ValueError as error:
            raise ValueError(f"{error}, or {word}") from error

    def format_(value: float | str) -> str:
        return value if isinstance(value, str) else kind.format(value)

    return Kind(f"{kind.expected}, or {word}", parse, format_)


def choice(names: Sequence[str]) -> Kind[str]:
    """Return the kind of a name out of several."""
    return _make(", ".join(names), lambda text: text if text in names else None)


def text(*, may_be_empty: bool = False) -> Kind[str]:
    """Return the kind of texts in one line, which are kept as they are."""
    expected = f"a text in one line, of at most {MOST_CHARACTERS} characters"

    def parse(given: str) -> str:
        is_line = all(ord(one) >= 32 for one in given) and len(given) <= MOST_CHARACTERS
        if not is_line or not (may_be_empty or given.strip()):
            raise ValueError(expected)
        return given

    return Kind("", parse)


def _parse_path(given: str) -> Path:
    return Path(text().parse(given)).expanduser()


PATH: Final = Kind("", _parse_path)
"""A file or folder, which need not exist."""


def matching(expected: str, pattern: str) -> Kind[str]:
    """Return the kind of texts of one form."""
    return _make(expected, lambda text: text if re.fullmatch(pattern, text) else None)


def listed(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """Return the kind of comma lists; repeated values count once."""

    def find(text: str) -> tuple[T, ...]:
        return tuple(dict.fromkeys(kind.parse(part) for part in text.split(",")))

    expected = f"{AUTO}, or a comma list; each: {kind.expected}"
    return _make(expected, find, lambda values: ",".join(map(kind.format, values)))


def optional(kind: Kind[T]) -> Kind[T | None]:
    """Return the kind that also takes no text at all, as ``None``."""
    return Kind(
        kind.expected,
        lambda text: kind.parse(text) if text.strip() else None,
        lambda value: "" if value is None else kind.format(value),
    )


def _find_size(text: str) -> tuple[int, int] | None:
    found = re.fullmatch(r"([0-9]{1,6})\s*x\s*([0-9]{1,6})", text)
    return (EDGE.parse(found[1]), EDGE.parse(found[2])) if found else None


def _find_bytes(text: str) -> int | None:
    found = re.fullmatch(_SIZE, text)
    return round(_require_positive(found[1]) * _UNITS[found[2]]) if found else None


def _find_joules(text: str) -> float | None:
    found = re.fullmatch(rf"{_NUMBER}(k?)J\s*", text)
    return _require_positive(found[1]) * (1000 if found[2] else 1) if found else None


def _find_share(text: str) -> float | None:
    percent = _require_positive(text.removesuffix("%"))
    # 0.03 may be meant as three per cent or as three hundredths of a per cent.
    return percent / 100 if percent >= 1 or text.endswith("%") else None


def _find_growth(text: str) -> tuple[float, int] | None:
    found = re.fullmatch(rf"{_NUMBER}%\s*\+{_SIZE}", text)
    if found is None:
        return None
    return _require_positive(found[1]) / 100, round(_require_positive(found[2]) * _UNITS[found[3]])


def _find_start(text: str) -> tuple[float, float] | None:
    share, _, added = text.partition("+")
    found = re.fullmatch(rf"{_NUMBER}%\s*", share)
    return (_require_positive(found[1]) / 100, DURATION.parse(added)) if found else None


def _require_positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(text)
    return value


def _within(value: float, least: float, most: float) -> float | None:
    return value if least <= value <= most else None


def format_number(value: float) -> str:
    """Write a number with nine decimals at most, without an exponent.

    >>> format_number(2.5), format_number(3.0), format_number(0.125)
    ('2.5', '3', '0.125')
    """
    return f"{value:.9f}".rstrip("0").rstrip(".")


def format_duration(duration_s: float) -> str:
    """Write a duration in the largest unit of which it is a whole number, else in seconds.

    >>> format_duration(5400), format_duration(7200), format_duration(2.5), format_duration(1e-12)
    ('90m', '2h', '2.5s', '1e-12s')
    """
    for unit in ("h", "m"):
        if duration_s and not duration_s % _SECONDS[unit]:
            return f"{duration_s / _SECONDS[unit]:.0f}{unit}"
    plain = format_number(duration_s)
    is_exact = math.isclose(float(plain), duration_s, rel_tol=1e-10)
    return f"{plain if is_exact else format(duration_s, '.12g')}s"


PIXELS: Final = _make(
    "WIDTHxHEIGHT in pixels, multiples of 8, such as 512x512",
    _find_size,
    lambda size: f"{size[0]}x{size[1]}",
)
EDGE: Final = whole(8, 65_536, step=8)
"""Width or height of an image, in pixels."""

SHARE: Final = _make(
    "a percentage above 0, such as 3%", _find_share, lambda share: f"{share * 100:g}%"
)
"""A percentage, as a fraction."""

BYTES: Final = _make("a size in KiB, MiB or GiB, such as 256KiB", _find_bytes)
JOULES: Final = _make("joules above 0, such as 300J or 1.5kJ", _find_joules)
DURATION: Final = duration()
"""A duration, in seconds."""

GROWTH: Final = _make("a percentage and a size, such as 10%+64MiB", _find_growth)
"""Growth of memory, as a fraction and bytes."""

START: Final = _make("a percentage and a duration, such as 50%+2s", _find_start)
"""Growth of a start, as a fraction and seconds."""

NAMES: Final = _make(
    "names joined by +",
    lambda text: tuple(one.strip() for one in text.split("+")),
    lambda names: "+".join(names) or "none",
)
"""Optimisations by name; which names there are and go together is in their catalogue."""


def file_such_as(example: str) -> Kind[Path]:
    """Return the kind of files in a folder that exists, as an absolute path."""
    return _make(f"a file in a folder that exists, such as {example}", _find_file)


def _find_file(text: str) -> Path | None:
    path = Path(text).expanduser().absolute()
    return path if text and path.parent.is_dir() and not path.is_dir() else None


def _find_page(text: str) -> Path | None:
    return _find_file(text) if Path(text).suffix in (".html", ".htm") else None


PAGE: Final = _make("an .html file in a folder that exists, such as report.html", _find_page)
CLUSTER: Final = matching("tcp://HOST:PORT or tls://HOST:PORT", r"(tcp|tls)://[^/\s]+:[0-9]{1,5}")


def split_loras(text: str) -> list[tuple[str, float, bool]]:
    """Split ``FILE[:SCALE][:fused]``, a comma list, to file, scale and whether it is fused.

    >>> split_loras("style.safetensors:0.8:fused,line.safetensors")
    [('style.safetensors', 0.8, True), ('line.safetensors', 1.0, False)]

    Raises:
        ValueError: A part is not of that form.
    """
    found = []
    for part in text.split(",") if text else ():
        match = _LORA.fullmatch(part.strip())
        scale = 0.0 if match is None else float(match["scale"] or 1)
        if match is None or scale == 0 or not math.isfinite(scale):
            raise ValueError(part)
        found.append((match["file"], scale, bool(match["fused"])))
    return found


def _find_loras(text: str) -> str:
    split_loras(text)
    return text


_LORA_WORDS: Final = "FILE.safetensors[:SCALE][:fused], such as style.safetensors:0.8, SCALE not 0"
LORA: Final = _make(f"{_LORA_WORDS}, a comma list", _find_loras)


def _find_history(text: str) -> str | None:
    scheme = text.partition("://")[0] if "://" in text else "sqlite"
    is_database = re.fullmatch(r"(sqlite|postgres(ql)?)(\+\w+)?", scheme)
    return text if is_database and not text.startswith("-") else None


HISTORY: Final = _make("off, an SQLite file, or postgresql://USER@HOST/DATABASE", _find_history)


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One setting. As text it is its option of pytest, `PREFIX` and key.

    Attributes:
        key: Its name, words joined by ``-``.
        metavar: What stands for one value in a help text; empty for a switch.
        kind: How one value is read and written.
        about: What it means, one phrase.
        default: What holds where nothing is typed, as text.
        auto: What ``auto`` does, a phrase with its verb; ``None`` where it cannot be typed.
        fields: Fields of `Workload` or `Variant` that it sets, in the order of its values.
        is_list: Whether a pytest run takes a comma list of values and measures each.
    """

    key: str
    metavar: str
    kind: Kind[T]
    about: str
    default: str = ""
    auto: str | None = None
    fields: tuple[str, ...] = ()
    is_list: bool = False

    def __str__(self) -> str:
        """Return the option of pytest."""
        return f"{PREFIX}{self.key}"

    @property
    def ini(self) -> str:
        """The setting in pytest's ini file."""
        return f"sd_{self.name}"

    @property
    def flag(self) -> str:
        """The option of those commands that have it."""
        return f"--{self.key}"

    @property
    def name(self) -> str:
        """The key in ``KEY=VALUE``, and the attribute of what argparse reads."""
        return self.key.replace("-", "_")

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar

    @property
    def help(self) -> str:
        """What a pytest run says of it: meaning, kind of value, ``auto`` and default."""
        if self.is_switch:
            return self.about
        parts = [self.about, ", a comma list; each" if self.is_list else ""]
        parts += [f": {self.kind.expected}"] if self.kind.expected else []
        parts += [f"; auto {self.auto}"] if self.auto else []
        return "".join((*parts, f" ({self.default or 'none'})"))

    @property
    def usual(self) -> str:
        """What holds where nothing is typed, in words; empty where that is nothing."""
        return self.default if self.default != AUTO else (self.auto or AUTO).removeprefix("is ")

    def taking(self, kind: Kind[U], about: str | None = None) -> Setting[U]:
        """Return the setting as a command has it that takes another kind of value, or means less.

        Args:
            kind: How its values are read and written there.
            about: What it means there; ``None`` is the same.
        """
        return Setting(
            self.key,
            self.metavar,
            kind,
            self.about if about is None else about,
            self.default,
            self.auto,
            self.fields,
        )

    def parse(self, text: str) -> T:
        """Read one value.

        Raises:
            ValueError: It cannot be used; the error says what is expected.
        """
        return self.kind.parse(text)

    def parse_or_auto(self, text: str) -> T | None:
        """Read one value, or ``auto`` as ``None``.

        Raises:
            ValueError: It cannot be used; the error says what is expected.
        """
        return None if text.strip() == AUTO else self.kind.parse(text)

    def parse_list(self, text: str) -> tuple[T, ...]:
        """Read a comma list.

        Raises:
            ValueError: A value cannot be used; the error says what is expected.
        """
        return listed(self.kind).parse(text)

    def format(self, value: T | None) -> str:
        """Write a value as `parse_or_auto` reads it."""
        return AUTO if value is None else self.kind.format(value)

    def assign(self, value: T | None) -> str:
        """Write ``KEY=VALUE``.

        >>> Setting("steps", "N", whole(), "denoising steps").assign(20)
        'steps=20'
        """
        return f"{self.name}={self.format(value)}"
