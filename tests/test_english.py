"""Words that a reader who is not a native speaker has to look up stay out of code and docs."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
REPLACEMENTS = {
    "anew": "again, or fresh",
    "likewise": "the words that it repeats",
    "held against": "compared with",
}
_RARE = re.compile(r"\b(?:" + "|".join(REPLACEMENTS).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
"""The words, which a line may end between."""

_NOT_PROSE = re.compile(r"\]\([^)]*\)|--anew\b|(?<=docs/decisions/)\S+")
"""Targets of links, names of decisions' files, and an option."""

OLD_TITLES = {
    "# 13. A limit is held against the machine it runs on",
    "# 29. Executed is held against asked",
}
"""Titles of decisions, which are as old as the names of their files."""

LEFT = {
    "sdperf/engines/external/check/judging.py": 5,
    "sdperf/engines/external/check/trying.py": 3,
}
"""How often a file has such a word as a name in its code; a number here only becomes smaller."""


def list_prose():
    """Return the files whose words people read, without results, which programs wrote."""
    package, docs = ROOT / "sdperf", ROOT / "docs"
    files = [*ROOT.glob("*.md"), *package.rglob("*.py"), *package.rglob("*.toml")]
    files += docs.rglob("*.md")
    results = docs / "results"
    return sorted(one for one in files if results not in one.parents and one.name != "CHANGELOG.md")


def find_rare(text):
    """Return each rare word with the number of its line."""
    lines = ("" if line in OLD_TITLES else line for line in text.split("\n"))
    prose = _NOT_PROSE.sub("", "\n".join(lines))
    return [
        (prose.count("\n", 0, found.start()) + 1, " ".join(found.group().lower().split()))
        for found in _RARE.finditer(prose)
    ]


def test_words_are_plain():
    found = {
        name: rare
        for path in list_prose()
        for name in [path.relative_to(ROOT).as_posix()]
        for rare in [find_rare(path.read_text(encoding="utf-8"))]
        if len(rare) != LEFT.get(name, 0)
    }
    assert found == {}, f"say instead: {REPLACEMENTS}; where there are fewer now, lower LEFT"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It begins anew.", [(1, "anew")]),
        ("Plain.\n    date: Likewise.\nheld against it", [(2, "likewise"), (3, "held against")]),
        ("again, fresh, compared with, a new one", []),
        ("[29](0029-executed-is-held-against-asked.md), `--anew`", []),
        ("[held against](a.md)", [(1, "held against")]),
        ("Plain.\nIt is held\n    against it.", [(2, "held against")]),
    ],
)
def test_a_rare_word_is_found_and_a_name_is_not_taken_for_one(text, found):
    assert find_rare(text) == found
