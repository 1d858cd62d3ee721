"""When somebody is told: by nights that say something, three in a row."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.nightly.deciding import BAD_NIGHTS, KnownIssue, decide, digest_name, find_bad_case
from sdperf.nightly.night import Night, NightAnswer
from sdperf.record.verdict import Outcome

A, B = "bench/test_a.py::test_a", "bench/test_b.py::test_b"
WORDS = {"+": "PASS", "-": "SLOWER", "?": "INCONCLUSIVE", "!": "DEGRADED"}


def nights(**rows):
    """Make nights from letters, one a night: ``+-?!`` as above, ``.`` not measured, ``o`` open."""
    made = []
    for day, letters in enumerate(zip(*rows.values(), strict=True), 1):
        is_open = "void: shaking" if "o" in letters else None
        cases = {
            {"a": A, "b": B}[name]: NightAnswer(WORDS[letter])
            for name, letter in zip(rows, letters, strict=True)
            if letter in WORDS and is_open is None
        }
        made.append(Night(cases, is_open, f"{day:040x}", f"2026-11-{day:02d}"))
    return made


@pytest.mark.parametrize(
    ("row", "act"),
    [
        ("+--", "nothing"),
        ("+---", "open"),
        ("---", "open"),
        ("-+-+-", "nothing"),
        ("--+--", "nothing"),
        ("--o-", "open"),
        ("--o", "nothing"),
        ("--.-", "open"),
        ("--.", "nothing"),
        ("--?", "nothing"),
        ("--?-", "open"),
        ("-?-?-", "open"),
        ("+--?+-", "nothing"),
        ("-!-", "open"),
        ("+++", "nothing"),
    ],
)
def test_an_issue_is_opened_after_three_nights_that_say_the_same_case_is_worse(row, act):
    assert decide(nights(a=row), None).act == act


def test_three_nights_with_another_bad_case_each_are_no_three_in_a_row():
    assert decide(nights(a="-+-", b="+-+"), None).act == "nothing"
    assert [one.name for one in decide(nights(a="---", b="++-"), None).bad] == [A]


def test_the_night_before_the_first_bad_one_is_the_good_end():
    found = find_bad_case(A, nights(a="++o--.-"))
    assert found.last_good.date == "2026-11-02"
    assert [night.date[-2:] for night in found.nights] == ["04", "05", "07"]
    assert find_bad_case(A, nights(a="---")).last_good is None
    assert find_bad_case(A, nights(a="--+")) is None
    assert find_bad_case(A, nights(a="--+.")) is None


@pytest.mark.parametrize("outcome", ["INCONCLUSIVE", "NO BASELINE", "INCOMPARABLE", "CHANGED"])
def test_an_answer_that_settles_nothing_is_no_good_end_and_closes_nothing(outcome):
    row = [
        replace(night, cases={A: NightAnswer(outcome)}) if day in (2, 5) else night
        for day, night in enumerate(nights(a="+?---?"), 0)
    ]
    row[1] = replace(row[1], cases={A: NightAnswer(outcome)})
    found = find_bad_case(A, row)
    assert (found.last_good.date, found.nights[0].date) == ("2026-11-01", "2026-11-04")
    assert decide(row, KnownIssue(7, (A,))).act == "update"


def test_only_what_is_judged_well_or_worse_is_settled():
    settled = {one.value for one in Outcome if NightAnswer(one.value).is_settled}
    assert settled == {"PASS", "FASTER", "SLOWER", "HEAVIER", "DEGRADED", "BROKEN"}


@pytest.mark.parametrize(
    ("rows", "act", "listed"),
    [
        ({"a": "----", "b": "++++"}, "update", [A]),
        ({"a": "---+", "b": "++++"}, "close", []),
        ({"a": "---?", "b": "++++"}, "update", [A]),  # nobody says that it is well
        ({"a": "????", "b": "++++"}, "update", [A]),
        ({"a": "---?+", "b": "+++++"}, "close", []),
        ({"a": "---o", "b": "++++"}, "nothing", []),
        ({"a": "---.", "b": "++++"}, "update", [A]),  # renamed or dropped: somebody has to look
        ({"a": "---+", "b": "+---"}, "update", [B]),
        ({"a": "---+", "b": "++--"}, "close", []),
        ({"a": "----", "b": "+---"}, "update", [A, B]),
    ],
)
def test_an_open_issue_follows_the_nights(rows, act, listed):
    decision = decide(nights(**rows), KnownIssue(7, (A,)))
    assert (decision.act, [one.name for one in decision.bad]) == (act, listed)


def test_what_is_measured_no_longer_stays_and_is_said():
    decision = decide(nights(a="---.", b="++++"), KnownIssue(7, (A,)))
    assert decision.absent == (A,)


def test_who_closed_the_issue_is_not_told_the_same_again_but_of_another_case_or_a_new_row():
    closed = KnownIssue(7, (A,), closed_on="2026-11-05")
    assert decide(nights(a="++-----"), closed).act == "nothing"
    assert decide(nights(a="-------"), closed).act == "nothing"
    assert decide(nights(a="++----+---"), closed).act == "open"
    assert decide(nights(a="++-----", b="++-----"), closed).act == "open"


def test_an_issue_that_sdperf_closed_silences_nothing_that_came_after_it():
    closed = KnownIssue(7, (A,), closed_on="2026-10-01")
    assert decide(nights(a="---"), closed).act == "nothing"  # by hand
    for row in ("---", "ooo---", "-" * 12, "???---"):
        assert decide(nights(a=row), replace(closed, is_over=True)).act == "open"


def test_a_case_that_an_issue_has_no_room_to_list_is_known_by_its_digest():
    digests = frozenset({digest_name(B)})
    closed = KnownIssue(7, (A,), closed_on="2026-11-05", digests=digests)
    assert decide(nights(a="+----", b="+----"), closed).act == "nothing"
    assert decide(nights(b="+----"), replace(closed, digests=frozenset())).act == "open"
    decision = decide(nights(b="+--."), KnownIssue(7, (), digests=digests))
    assert [one.name for one in decision.bad] == [B]


@given(st.lists(st.sampled_from("+-?!.o"), min_size=1, max_size=12))
def test_nothing_is_opened_unless_three_saying_nights_end_it_and_all_are_bad(letters):
    is_opened = decide(nights(a="".join(letters)), None).act == "open"
    saying = [one for one in letters if one not in ".o?"]
    ends_bad = len(saying) >= BAD_NIGHTS and all(one in "-!" for one in saying[-BAD_NIGHTS:])
    assert is_opened == (ends_bad and letters[-1] in "-!")


@given(st.lists(st.sampled_from("+-?!.o"), min_size=1, max_size=12))
def test_an_issue_that_was_closed_is_not_opened_by_the_night_that_closed_it(letters):
    row = nights(a="".join(letters))
    if decide(row, KnownIssue(7, (A,))).act == "close":
        assert decide(row, KnownIssue(7, (A,), closed_on=row[-1].date)).act == "nothing"
