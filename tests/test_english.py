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
_RARE = re.compile(r"\b(?:" + "|".join(REPLACEMENTS) + r")\b", re.IGNORECASE)
_NOT_PROSE = re.compile(r"\]\([^)]*\)|--anew\b|(?<=docs/decisions/)\S+")
"""Targets of links, names of decisions' files, and an option."""

OLD_TITLES = {
    "# 13. A limit is held against the machine it runs on",
    "# 29. Executed is held against asked",
}
"""Titles of decisions, which are as old as the names of their files."""

LEFT = {
    "sdperf/bisect/folder.py": 3,
    "sdperf/engines/external/check/judging.py": 6,
    "sdperf/engines/external/check/trying.py": 3,
    "sdperf/engines/external/template.py": 1,
    "docs/optimisations.md": 2,
    "docs/releases.md": 1,
    "docs/sweep.md": 2,
}
"""How often a file has such a word still; a number here only ever becomes smaller."""


def list_prose():
    """Return the files whose words people read, without results, which programs wrote."""
    package, docs = ROOT / "sdperf", ROOT / "docs"
    files = [*ROOT.glob("*.md"), *package.rglob("*.py"), *package.rglob("*.toml")]
    files += docs.rglob("*.md")
    results = docs / "results"
    return sorted(one for one in files if results not in one.parents and one.name != "CHANGELOG.md")


def find_rare(text):
    """Return each rare word with the number of its line."""
    lines = enumerate(text.split("\n"), 1)
    return [
        (number, found.lower())
        for number, line in lines
        if line not in OLD_TITLES
        for found in _RARE.findall(_NOT_PROSE.sub("", line))
    ]


def test_words_are_plain():
    found = {
        name: rare
        for path in list_prose()
        for name in [path.relative_to(ROOT).as_posix()]
        for rare in [find_rare(path.read_text(encoding="utf-8"))]
        if len(rare) > LEFT.get(name, 0)
    }
    assert found == {}, f"say instead: {REPLACEMENTS}"


def test_the_list_of_what_is_left_names_only_what_is_there():
    prose = {path.relative_to(ROOT).as_posix(): path for path in list_prose()}
    done = [name for name in LEFT if not find_rare(prose[name].read_text(encoding="utf-8"))]
    assert done == [], "take these files out of LEFT"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It begins anew.", [(1, "anew")]),
        ("Plain.\n    date: Likewise.\nheld against it", [(2, "likewise"), (3, "held against")]),
        ("again, fresh, compared with, a new one", []),
        ("[29](0029-executed-is-held-against-asked.md), `--anew`", []),
        ("[held against](a.md)", [(1, "held against")]),
    ],
)
def test_a_rare_word_is_found_and_a_name_is_not_taken_for_one(text, found):
    assert find_rare(text) == found
