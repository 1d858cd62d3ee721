"""The damage page is what its data say, and each damage is planted by a name of its own."""

import json

import pytest

from evidence.damage_table.__main__ import PAGE, RESULTS
from evidence.damage_table.sessions import CAUGHT, COLUMNS, ERROR, PASSED
from evidence.damage_table.subjects import SUBJECTS, name_function
from evidence.damage_table.table import format_page

DATA = json.loads(RESULTS.read_text(encoding="utf-8"))


def test_the_page_is_laid_out_from_its_data():
    assert PAGE.read_text(encoding="utf-8") == format_page(DATA)


def test_each_damage_has_a_row_and_a_subject_of_its_own():
    assert list(DATA["pictures"]) == list(SUBJECTS)
    assert len({name_function(name) for name in SUBJECTS}) == len(SUBJECTS)


def test_the_unchanged_pipeline_passes_everywhere():
    assert DATA["pictures"]["unchanged"] == dict.fromkeys(COLUMNS, PASSED)


@pytest.mark.parametrize("name", SUBJECTS[1:])
def test_each_damage_is_caught_by_some_gate(name):
    assert {CAUGHT, ERROR} & set(DATA["pictures"][name].values())
