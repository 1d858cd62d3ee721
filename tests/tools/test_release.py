"""A release: tag, version and changelog agree, and each that does not is named."""

import datetime
from pathlib import Path

import pytest

import sdperf
from tools.release import cut, find_faults, find_section, main, read_version

ROOT = Path(__file__).parents[2]
SOURCE = '"""A package."""\n\n__version__ = "0.2.0"\n'
CHANGELOG = "# Changelog\n\n## 0.2.0 (2026-12-01)\n\n- One.\n\n## 0.1.0 (2026-01-01)\n\n- Zero.\n"
PROJECT = '[project]\nname = "x"\n\n[project.urls]\nSource = "https://example.org/x"\n'
TODAY = datetime.date(2026, 12, 1)


def test_what_agrees_has_no_fault():
    assert find_faults("v0.2.0", SOURCE, CHANGELOG, PROJECT) == []
    assert find_section(CHANGELOG, "0.2.0") == "- One."


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        ("v0.2.1", CHANGELOG, "the tag is v0.2.1, the version 0.2.0"),
        ("0.2.0", CHANGELOG, "expected: v0.2.0"),
        ("v0.2.0", CHANGELOG.replace("0.2.0", "0.2.9"), "says nothing of 0.2.0"),
        ("v0.2.0", CHANGELOG.replace("- One.\n", ""), "says nothing of 0.2.0"),
        ("v0.2.0", CHANGELOG.replace("(2026-12-01)", ""), "says nothing of 0.2.0"),
    ],
)
def test_each_that_does_not_agree_is_named(tag, changelog, said):
    (fault,) = find_faults(tag, SOURCE, changelog, PROJECT)
    assert said in fault


def test_a_project_that_does_not_say_where_it_is_is_not_released():
    without = PROJECT.partition("[project.urls]")[0]
    (fault,) = find_faults("v0.2.0", SOURCE, CHANGELOG, without)
    assert "add [project.urls] with Source and Issues" in fault


def test_what_is_unreleased_gets_a_version_and_a_date():
    text = "# Changelog\n\n## Unreleased\n\n- One.\n\n## 0.1.0 (2026-01-01)\n\n- Zero.\n"
    after = cut(text, "0.2.0", TODAY)
    assert after == text.replace("## Unreleased\n", "## Unreleased\n\n## 0.2.0 (2026-12-01)\n")
    assert find_section(after, "0.2.0") == "- One."
    with pytest.raises(ValueError, match="nothing below"):
        cut(after, "0.3.0", TODAY)
    with pytest.raises(ValueError, match=r"has 0\.2\.0 already"):
        cut(after, "0.2.0", TODAY)


def test_a_cut_sets_the_one_version_and_then_all_agrees(tmp_path, capsys):
    (tmp_path / "sdperf").mkdir()
    (tmp_path / "sdperf/__init__.py").write_text(SOURCE.replace("0.2.0", "0.1.0"))
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- One.\n")
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    assert main(["cut", "0.2"], tmp_path) == 2
    assert main(["cut", "0.2.0"], tmp_path) == 0
    assert read_version((tmp_path / "sdperf/__init__.py").read_text()) == "0.2.0"
    assert main(["check", "v0.2.0"], tmp_path) == 0
    assert main(["check", "v0.2.1"], tmp_path) == 1
    assert "the tag is v0.2.1" in capsys.readouterr().out


def test_the_package_says_its_version_in_one_place():
    assert read_version((ROOT / "sdperf/__init__.py").read_text()) == sdperf.__version__
    assert 'dynamic = ["version"]' in (ROOT / "pyproject.toml").read_text()
