"""The table of settings: whole, each default readable, and the page of options is made of it."""

import dataclasses

import pytest

from sdperf import settings
from sdperf.record.workload import Variant, Workload
from sdperf.settings import BY_FIELD, OPTIONS, SWITCHES
from sdperf.settings.kinds import AUTO, Setting
from tools.options_page import PAGE, format_page


def test_every_setting_has_one_key_and_a_constant_of_its_name():
    by_name = {name: one for name, one in vars(settings).items() if isinstance(one, Setting)}
    assert {one.name.upper(): one for one in by_name.values()} == by_name
    assert len(OPTIONS) + len(SWITCHES) == len(by_name)


@pytest.mark.parametrize("setting", OPTIONS, ids=str)
def test_a_default_is_what_its_kind_takes(setting):
    assert setting.about
    assert setting.metavar
    if setting.default == AUTO:
        assert setting.auto or setting.parse(AUTO) == AUTO
    elif setting.is_list:
        setting.parse_list(setting.default)
    elif setting.default:
        setting.parse(setting.default)


def test_every_field_of_what_is_drawn_and_how_has_its_setting():
    fields = {one.name for kind in (Workload, Variant) for one in dataclasses.fields(kind)}
    assert set(BY_FIELD) == fields


def test_the_page_of_options_is_made_of_the_table():
    assert PAGE.read_text(encoding="utf-8") == format_page(), "python -m tools.options_page"
