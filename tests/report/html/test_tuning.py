import dataclasses
import re

import pytest

from sdperf.cli import main
from sdperf.report.figures.tune import draw_front, draw_history, draw_importances
from sdperf.report.html.page import render_page
from sdperf.report.html.tuning import is_picture
from sdperf.report.pictures.pictures import locate_pictures
from sdperf.tune.summary import format_summary_json
from tests.support.reported_runs import HOSTILE
from tests.support.tune_stories import run_study


@pytest.fixture(scope="module")
def summary(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("study"))


def render(summary):
    return render_page([], locate_pictures([]), None, [summary])


def test_a_page_shows_the_front_with_pictures_the_winner_and_the_history(summary):
    page = render(summary)
    assert "2.00 times as fast as the default" in page
    pictures = re.findall(r'class="peek"><img src="data:image/webp;base64,', page)
    assert len(pictures) == len(summary.front)
    assert "What decides" in page
    assert "How the search went" in page
    assert "Measured again beside the default" in page
    assert "the device ran out of memory" in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page), "it asks nobody for anything"


def test_the_foot_of_a_page_without_runs_promises_none(summary):
    page = render(summary)
    foot = page[page.index("<footer>") :]
    assert "the runs named above" not in foot
    assert "This file holds no run" in foot
    assert "sdperf tune show --json FILE" in foot
    assert "sdperf sweep" not in foot


def test_places_of_pictures_lie_on_the_figure(summary):
    _, places = draw_front(summary)
    assert set(places) == set(summary.front)
    assert all(0 < x < 1 and 0 < y < 1 for x, y in places.values())
    fastest, slowest = summary.front[0], summary.front[-1]
    assert places[fastest][0] < places[slowest][0], "faster is left"
    assert places[fastest][1] > places[slowest][1], "likelier is up"


def test_numbers_of_the_figures_are_those_of_the_study(summary):
    drawn, _ = draw_front(summary)
    complete = [one for one in summary.trials if one.ending == "complete"]
    assert len(drawn.table.rows) == len(complete)
    assert len(draw_history(summary).table.rows) == len(summary.trials)
    shares = [float(row[1].rstrip("%")) for row in draw_importances(summary).table.rows]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_a_study_without_anything_is_shown_too(summary):
    empty = dataclasses.replace(
        summary, trials=(), front=(), default=None, importances={}, confirmations=(), winner=None
    )
    assert "the default was not measured yet" in render(empty)


def test_names_of_an_attacker_stay_texts(summary):
    trials = tuple(
        dataclasses.replace(
            one, tried=dataclasses.replace(one.tried, reason=HOSTILE, thumbnail=HOSTILE)
        )
        for one in summary.trials
    )
    page = render(dataclasses.replace(summary, study=HOSTILE, machine=HOSTILE, trials=trials))
    assert "<img src=x" not in page
    assert "window.hacked=1</script>" not in page


@pytest.mark.parametrize("text", [None, "", "AAAA", "x y", "UklGRg==", "A" * 100_000])
def test_only_pictures_are_shown_as_pictures(text):
    assert not is_picture(text)


def test_the_command_writes_a_page_from_a_study_alone(summary, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tune.json").write_text(format_summary_json(summary))
    assert main(["report", "--tune", "tune.json", "-o", "out.html"]) == 0
    assert "wrote out.html: winner: trial" in capsys.readouterr().out
    assert "Seconds against likeness" in (tmp_path / "out.html").read_text()
    (tmp_path / "tune.json").write_text('{"format_version": 7}')
    assert main(["report", "--tune", "tune.json"]) == 2
    assert "another sdperf" in capsys.readouterr().err
