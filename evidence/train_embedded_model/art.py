"""Fetches the emoji art and its names, and rasterises it. Needs npm once, and resvg-py."""

import io
import json
import re
import subprocess
import tarfile
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGES: tuple[tuple[str, str], ...] = (
    ("@iconify-json/noto", "1.2.9"),
    ("emojibase-data", "17.0.0"),
)
SIZE = 128
_COMPONENT_AND_FLAG_GROUPS = (2, 9)
_QUOTES = str.maketrans({"“": '"', "”": '"', "’": "'", "‘": "'"})
_TWINS = (("man ", "person "), ("woman ", "person "), ("men ", "people "), ("women ", "people "))


@dataclass(frozen=True)
class Emoji:
    """One drawing and every phrase that names it and nothing else.

    Attributes:
        hexcode: Code points, upper-case hex, joined by ``-``.
        names: Unambiguous names, the CLDR label first; lower case.
        tags: CLDR keywords; these may be shared with other emoji.
        group: Emojibase group number.
    """

    hexcode: str
    names: tuple[str, ...]
    tags: tuple[str, ...]
    group: int


def fetch_packages(folder: Path) -> None:
    """Downloads and unpacks the two pinned npm packages into ``folder``, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, version in PACKAGES:
        target = folder / _folder_name(name, version)
        if target.exists():
            continue
        packed = subprocess.run(
            ["npm", "pack", "--silent", f"{name}@{version}"],
            cwd=folder,
            check=True,
            capture_output=True,
            text=True,
        )
        with tarfile.open(folder / packed.stdout.split()[-1]) as archive:
            archive.extractall(target, filter="data")


def read_emoji(folder: Path) -> tuple[list[Emoji], list[str]]:
    """Reads names and SVG sources of the emoji that are kept.

    Args:
        folder: Where `fetch_packages` put the packages.

    Returns:
        The emoji, and for each one its SVG document.
    """
    noto = folder / _folder_name(*PACKAGES[0]) / "package"
    base = folder / _folder_name(*PACKAGES[1]) / "package"
    icons = _read_json(noto / "icons.json")
    icon_names = _read_json(noto / "chars.json")
    subgroups = _read_json(base / "meta" / "groups.json")["subgroups"]
    shortcodes = [
        _read_json(base / "en" / "shortcodes" / f"{kind}.json") for kind in ("emojibase", "github")
    ]
    rows = [
        row
        for row in _read_json(base / "en" / "data.json")
        if row.get("group") is not None and row["group"] not in _COMPONENT_AND_FLAG_GROUPS
    ]
    labels = {row["label"] for row in rows}
    rows = [row for row in rows if _is_kept(row["label"], subgroups[str(row["subgroup"])], labels)]
    names = _compute_unambiguous_names(rows, shortcodes)
    emoji, documents = [], []
    for row, own_names in zip(rows, names, strict=True):
        code = row["hexcode"].lower()
        icon = icon_names.get(code) or icon_names.get(code.replace("-fe0f", ""))
        if icon is None:
            continue
        while icon in icons.get("aliases", {}):
            icon = icons["aliases"][icon]["parent"]
        body = icons["icons"][icon]["body"]
        tags = tuple(_normalise(tag) for tag in row.get("tags", ()))
        emoji.append(Emoji(row["hexcode"], own_names, tags, row["group"]))
        documents.append(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 128 128">{body}</svg>'
        )
    return emoji, documents


def rasterise(document: str) -> NDArray[np.uint8]:
    """Draws one SVG document; returns (128, 128, 4) uint8 RGBA, straight alpha."""
    import resvg_py
    from PIL import Image

    png = resvg_py.svg_to_bytes(svg_string=document, width=SIZE, height=SIZE)
    return np.asarray(Image.open(io.BytesIO(bytes(png))).convert("RGBA"))


def find_duplicates(art: NDArray[np.uint8], threshold: float = 1.5) -> list[int]:
    """Indices of drawings that can't be told from an earlier one.

    Args:
        art: (N, 128, 128, 4) uint8 RGBA.
        threshold: Mean absolute difference on white at 32x32, in 8-bit levels, below which two
            are the same.
    """
    alpha = art[..., 3:].astype(np.float32) / 255
    white = art[..., :3] * alpha + 255 * (1 - alpha)
    small = white.reshape(len(art), 32, 4, 32, 4, 3).mean((2, 4)).reshape(len(art), -1)
    return [
        index
        for index in range(1, len(art))
        if np.abs(small[:index] - small[index]).mean(1).min() < threshold
    ]


def _folder_name(name: str, version: str) -> str:
    return f"{name.strip('@').replace('/', '-')}-{version}"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _normalise(name: str) -> str:
    text = unicodedata.normalize("NFC", name.translate(_QUOTES)).lower().replace("_", " ")
    return re.sub(r"\s+", " ", text).strip()


def _is_kept(label: str, subgroup: str, labels: set[str]) -> bool:
    """Drops what differs by a glyph or a detail only, and what no one asks a model to draw."""
    if subgroup == "family" and (":" in label or label in ("kiss", "couple with heart")):
        return False
    if label.startswith(("family:", "Japanese “")) or subgroup == "keycap":
        return False
    if subgroup == "time" and label.endswith(("o’clock", "-thirty")):
        return False
    if subgroup == "alphanum" and label.endswith(("button", "(blood type)")):
        return False
    if "facing right" in label or label == "middle finger":
        return False
    return not any(label.startswith(a) and b + label[len(a) :] in labels for a, b in _TWINS)


def _compute_unambiguous_names(
    rows: list[dict[str, Any]], shortcodes: list[dict[str, Any]]
) -> list[tuple[str, ...]]:
    """For each emoji its label, then the aliases that no other emoji claims."""
    labels = [_normalise(row["label"]) for row in rows]
    aliases: list[list[str]] = []
    for row, label in zip(rows, labels, strict=True):
        own = [label.replace(":", "")]
        points = [point for point in row["hexcode"].split("-") if point != "FE0F"]
        if len(points) == 1:
            own.append(unicodedata.name(chr(int(points[0], 16)), ""))
        for table in shortcodes:
            codes = table.get(row["hexcode"], [])
            own += [codes] if isinstance(codes, str) else codes
        aliases.append(list(dict.fromkeys(_normalise(name) for name in own if name)))
    claims: dict[str, int] = {}
    for own in aliases:
        for name in own:
            claims[name] = claims.get(name, 0) + 1
    taken = set(labels)
    return [
        (
            label,
            *(
                name
                for name in own
                if name not in taken and claims[name] == 1 and re.search("[a-z]", name)
            ),
        )
        for label, own in zip(labels, aliases, strict=True)
    ]
