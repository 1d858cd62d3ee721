"""A result that cannot be written is refused before anything is read, loaded or measured."""

import pytest

from sdperf.cli import main

COMMANDS = [
    (["generate", "x", "--model", "./nowhere", "-o", "{}.png"], "-o", "drawn"),
    (["quality", "calibrate", "--model", "./nowhere", "--out", "{}"], "--out", "measured"),
    (["calibrate", "--out", "{}"], "--out", "measured"),
    (["calibrate", "--from", "nowhere.json", "--out", "{}"], "--out", "written"),
    (["report", "nowhere.json", "-o", "{}.html"], "-o", "written"),
    (["figures", "nowhere.json", "-o", "{}"], "-o", "written"),
    (["export", "nowhere.json", "--format", "junit", "-o", "{}.xml"], "-o", "written"),
    (["replay", "nowhere.html", "--extract", "{}"], "--extract", "written"),
]
"""Commands with an input that does not exist, so that only the first check can be what is told."""


@pytest.mark.parametrize(
    ("words", "option", "undone"), COMMANDS, ids=[" ".join(words[:2]) for words, *_ in COMMANDS]
)
@pytest.mark.parametrize("place", ["taken/result", "/proc/result"])
def test_what_cannot_be_written_is_refused_first(
    words, option, undone, place, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").write_text("a file in the place of a folder")
    assert main([word.format(place) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sdperf {words[0]}: {option}: "), line
    assert "cannot be written; got: " in line
    assert "; expected: a folder that can be written" in line
    assert line.endswith(f"; do: choose another place, or free some space; nothing was {undone}")


def test_a_folder_in_the_place_of_the_picture_is_refused_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apple.png").mkdir()
    assert main(["generate", "x", "--model", "./nowhere", "-o", "apple.png"]) == 2
    assert "-o: " in (told := capsys.readouterr().err)
    assert "cannot be written; got: Is a directory" in told


@pytest.mark.parametrize("target", ["apple.png", "nowhere/pear.png"])
def test_a_link_that_leads_nowhere_is_no_missing_folder(target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apple.png").symlink_to(target)  # the picture would replace the link
    assert main(["generate", "x", "--model", "./nowhere", "-o", "apple.png"]) == 2
    assert "the model './nowhere' does not exist" in capsys.readouterr().err


def test_a_folder_to_make_is_no_option_of_mkdir(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["generate", "x", "-o=-m/apple.png"]) == 2
    assert "; do: mkdir -p -- -m\n" in capsys.readouterr().err
