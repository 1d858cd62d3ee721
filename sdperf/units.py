"""Numbers as people read them: seconds, bytes, ratios and percentages. Pure."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Container, Iterable, Iterator, Sequence

UNKNOWN = "-"
"""The text for an unknown number; unknown is never 0."""


def format_seconds(seconds: float | None) -> str:
    """Format a duration with three significant digits and the unit that suits it.

    >>> format_seconds(0.00123), format_seconds(1.2345), format_seconds(125.0)
    ('1.23 ms', '1.23 s', '2 min 05 s')
    """
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    magnitude = abs(seconds)
    if magnitude >= 100:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest:02d} s"
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if magnitude >= scale:
            return f"{_three_digits(seconds / scale)} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def format_bytes(size_bytes: float | None) -> str:
    """Format a size in binary units.

    >>> format_bytes(512), format_bytes(12.5 * 2**20)
    ('512 B', '12.5 MiB')
    """
    if size_bytes is None or not math.isfinite(size_bytes):
        return UNKNOWN
    scaled, unit = float(size_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(scaled) < 1024:
            break
        scaled, unit = scaled / 1024, larger
    return f"{scaled:.0f} B" if unit == "B" else f"{_three_digits(scaled)} {unit}"


def format_change(ratio: float | None) -> str:
    """Format a ratio current / reference as a signed percentage, or as a factor from 10 on.

    >>> format_change(1.125), format_change(0.9), format_change(22.16), format_change(0.9999)
    ('+12.5 %', '-10.0 %', 'x 22.2', '+0.0 %')
    """
    if ratio is None or not math.isfinite(ratio):
        return UNKNOWN
    if ratio >= 10:
        return f"x {ratio:.1f}"
    return f"{(ratio - 1) * 100:+z.1f} %"


def format_quantity(number: int, noun: str) -> str:
    """Format a number of things whose plural ends in s.

    >>> format_quantity(1, "round"), format_quantity(3, "round")
    ('1 round', '3 rounds')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_names(names: Sequence[str], most: int = 3) -> str:
    """Join names with commas; of a longer list the first ones, and how many more there are.

    >>> format_names(["a", "b"]), format_names(["a", "b", "c", "d", "e"])
    ('a, b', 'a, b, c and 2 more')
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


ELLIPSIS = "..."
"""The text that replaces a part that was cut."""


def shorten(text: str, most: int, *, keeps_end: bool = False) -> str:
    """Cut a text to a number of characters, including the ellipsis.

    >>> shorten("benchmarks", 7), shorten("benchmarks", 7, keeps_end=True)
    ('benc...', '...arks')
    """
    if len(text) <= most:
        return text
    kept = most - len(ELLIPSIS)
    return f"{ELLIPSIS}{text[-kept:]}" if keeps_end else f"{text[:kept]}{ELLIPSIS}"


def shorten_middle(text: str, most: int, head: int | None = None) -> str:
    """Cut a text in its middle to a number of characters, since names differ at both ends.

    >>> shorten_middle("latency[fp32-sync-1w]", 15), shorten_middle("latency[fp32-sync-1w]", 15, 2)
    ('latenc...nc-1w]', 'la...2-sync-1w]')

    Args:
        text: The text.
        most: The most characters, including the ellipsis.
        head: How many characters stay before the ellipsis; half of them by default.
    """
    if len(text) <= most:
        return text
    kept = most - len(ELLIPSIS)
    head = kept - kept // 2 if head is None else head
    return f"{text[:head]}{ELLIPSIS}{text[len(text) - (kept - head) :]}"


def shorten_apart(texts: Sequence[str], most: int, *, keeps_end: bool = False) -> list[str]:
    """Cut texts to a number of characters, outside their differences, so that they still differ.

    Where no cut keeps all of them different, each ends in its number. A test id is cut in the
    parts that it has in common with the others, before it is cut near one of its ends.

    >>> shorten_apart(["draw[program-one]", "draw[program-two]"], 13)
    ['draw[...-one]', 'draw[...-two]']
    >>> shorten_apart(["draw[fp32-1w-ov-quick]", "draw[fp32-1w-pt-quick]"], 15)
    ['draw[...ov...]', 'draw[...pt...]']
    """
    distinct, kept = len(set(texts)), most - len(ELLIPSIS)
    cuts = itertools.chain(
        ([shorten(text, most, keeps_end=keeps_end) for text in texts],),
        ([shorten_middle(text, most) for text in texts],),
        _shorten_ids(texts, most),
        ([shorten_middle(text, most, head) for text in texts] for head in range(kept - 1, 0, -1)),
    )
    for cut in cuts:
        if len(set(cut)) == distinct:
            return cut
    numbers = {text: f"{ELLIPSIS}{number}" for number, text in enumerate(dict.fromkeys(texts), 1)}
    return [
        text if len(text) <= most else f"{text[: most - len(numbers[text])]}{numbers[text]}"
        for text in texts
    ]


def _shorten_ids(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    """Cut test ids that are too long: what their parameters have in common, then long parameters.

    Yields:
        The texts, where all of them fit, with ever shorter parameters.
    """
    long = dict.fromkeys(text for text in texts if len(text) > most)
    named = {text: text.removesuffix("]").partition("[") for text in long}
    parts = {text: name[2].split("-") for text, name in named.items() if name[1]}
    if len(parts) < len(named):
        return
    common = {
        place
        for place, found in enumerate(itertools.zip_longest(*parts.values()))
        if len(parts) > 1 and len(set(found)) == 1
    }
    for longest in range(most, 2, -1):
        cut = {
            text: f"{named[text][0]}[{_join_parts(those, common, longest)}]"
            for text, those in parts.items()
        }
        if all(len(short) <= most for short in cut.values()):
            yield [cut.get(text, text) for text in texts]


def _join_parts(parts: Sequence[str], left_out: Container[int], longest: int) -> str:
    kept = [
        ELLIPSIS
        if place in left_out
        else part
        if len(part) <= longest + len(ELLIPSIS)
        else f"{part[:longest]}{ELLIPSIS}"
        for place, part in enumerate(parts)
    ]
    joined = "-".join(kept)
    return re.sub(rf"(?:-?{re.escape(ELLIPSIS)}-?)+", ELLIPSIS, joined)


def format_score(score: float | None, digits: int = 4) -> str:
    """Format a score such as SSIM; never rounds something below 1 up to 1.

    >>> format_score(0.99999), format_score(1.0)
    ('0.9999', '1.0000')
    """
    factor = 10**digits
    if score is None or not math.isfinite(score * factor):
        return UNKNOWN
    return f"{math.floor(score * factor + 1e-9) / factor:.{digits}f}"


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    digits = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2
    return f"{value:.{digits}f}"


def format_shape(shape: Iterable[int]) -> str:
    """Format the sizes of an array.

    >>> format_shape((1, 4, 16, 16))
    '1 x 4 x 16 x 16'
    """
    return " x ".join(map(str, shape))
