"""The README's picture of a report says what the report says today."""

import pytest
from PIL import Image

from tools.readme_picture.screen import PICTURE, WORDS, list_words, render_report

AGAIN = "the report says something else than its picture; do: python -m tools.readme_picture"


@pytest.fixture(scope="module")
def page():
    return render_report()


@pytest.fixture(scope="module")
def words(page):
    return list_words(page)


def test_another_word_of_the_screen_is_seen_and_one_below_it_is_not(page, words):
    assert page.count("Measured on") == 1
    assert list_words(page.replace("Measured on", "Made on")) != words
    assert list_words(page.replace("Every case", "All cases")) == words


def test_the_picture_shows_the_words_of_today(words):
    assert words == WORDS.read_text("utf-8").splitlines(), AGAIN


def test_the_words_are_those_of_the_first_screen(words):
    assert words[:2] == ["sdperf", "report"]
    assert any("cases got worse" in one for one in words)
    assert "Worst image" in words
    assert "Every case" not in words


def test_the_picture_is_wide_enough_for_a_page_and_small_enough_to_load():
    with Image.open(PICTURE) as picture:
        assert picture.width == 1280
        assert 700 < picture.height < 1300
    assert PICTURE.stat().st_size < 120_000
