"""The job that writes: one issue, by a stand-in of GitHub's API."""

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import sdperf
from sdperf.errors import ConfigurationError
from sdperf.nightly.__main__ import main
from sdperf.nightly.deciding import BadCase, NightDecision, digest_name
from sdperf.nightly.github import LARGEST_ANSWER_BYTES, make_github
from sdperf.nightly.night import ALL_CASES, Night, NightAnswer, format_night
from sdperf.nightly.wording import (
    format_body,
    format_title,
    read_digests,
    read_listed,
    read_over,
    suggest_command,
)
from sdperf.report.markdown.words import escape_markdown
from tests.support.github_standin import TOKEN, GitHubStandIn, pack, serve

CASE = "benchmarks/test_latency.py::test_latency[fp32-sync-1w]"
ASKS = ("--for", "speed", "--cases", "latency[fp32-sync-1w]")
SUGGESTED = "engine=ort,steps=20,guidance=7.5,size=64x64,scheduler=ddim,negative_prompt=blurry, bad"
EVIL = "@you <script> | `x` [y](z)\n- \x1b[2J ::error:: #1 <!-- -->"


def night(outcome, reason="1.20 s against 1.00 s", bisect=ASKS):
    words = bisect if outcome == "SLOWER" else ()
    return format_night(Night({CASE: NightAnswer(outcome, reason, words)}))


@pytest.fixture
def github():
    return GitHubStandIn()


@pytest.fixture
def run(github, monkeypatch):
    """Run the job; returns its exit status."""
    with serve(github) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield lambda *arguments: main(["issue", *arguments])


def test_one_issue_lives_from_the_third_bad_night_to_the_first_good_one(run, github, capsys):
    answers = ["PASS", "SLOWER", "SLOWER", "SLOWER", "SLOWER", "PASS", "PASS"]
    states = []
    for day, outcome in enumerate(answers, 1):
        github.add_night(day, night(outcome))
        assert run() == 0
        states.append([one["state"] for one in github.issues])
    assert states == [[], [], [], ["open"], ["open"], ["closed"], ["closed"]]
    (issue,) = github.issues
    assert issue["labels"] == ["sdperf-nightly"]
    assert issue["state_reason"] == "completed"
    assert issue["title"] == "sdperf: 1 case is worse night after night (latency[fp32-sync-1w])"
    assert "2026-11-02 (4 nights)" in issue["body"]
    good, bad = (f"{day:040x}"[:12] for day in (1, 2))
    command = f"sdperf bisect {good} {bad} --for speed --cases 'latency[fp32-sync-1w]'"
    assert command in issue["body"].splitlines()
    assert github.comments == {1: [github.comments[1][0]]}
    assert "well again in the night of 2026-11-06" in github.comments[1][0]
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said][3:6] == [
        "open issue 1",
        "update issue 1",
        "close issue 1",
    ]


def test_the_token_stays_with_githubs_api(run, github):
    github.add_night(1, night("PASS"))
    assert run() == 0
    assert github.tokens_elsewhere == [None]


def test_only_what_a_timer_started_on_the_branch_is_a_night(run, github):
    for day in (1, 2, 3):
        github.add_night(day, night("SLOWER"), event="workflow_dispatch")
        github.add_night(day + 10, night("SLOWER"), branch="fork")
    assert run() == 0
    assert github.issues == []
    for day in (21, 22, 23):
        github.add_night(day, night("SLOWER"), branch="trunk")
    assert run("--branch", "trunk") == 0
    assert len(github.issues) == 1


@pytest.mark.parametrize(
    "content",
    [None, "no JSON", "[]", json.dumps({"sdperf_night": 2}), "x" * (2**20 + 1)],
    ids=["none", "no-json", "list", "version", "large"],
)
def test_a_night_that_cannot_be_read_says_nothing_and_the_row_goes_on(run, github, content):
    for day in (1, 2):
        github.add_night(day, night("SLOWER"))
    github.add_night(3, content)
    assert run() == 0
    assert github.issues == []
    github.add_night(4, night("SLOWER"))
    assert run() == 0
    assert "says nothing" in github.issues[0]["body"]


def test_an_artefact_that_expired_or_holds_something_else_says_nothing(run, github):
    for day in (1, 2, 3):
        github.add_night(day, night("SLOWER"))
    github.artefacts[101] = (github.artefacts[101][0], True)
    github.artefacts[102] = (pack("{}", "other.json"), False)
    assert run() == 0
    github.artefacts[102] = (b"no zip", False)
    assert run() == 0
    assert github.issues == []


def test_nothing_is_written_where_it_is_only_tried(run, github, capsys):
    for day in (1, 2, 3):
        github.add_night(day, night("SLOWER"))
    assert run("--dry-run") == 0
    assert github.issues == []
    assert capsys.readouterr().out == "would open: worse for 3 nights or more\n"


def test_an_issue_of_somebody_else_with_the_label_is_left_alone(run, github):
    theirs = {"number": 1, "state": "open", "body": "mine", "labels": ["sdperf-nightly"]}
    change = {"number": 2, "state": "open", "labels": ["sdperf-nightly"], "pull_request": {}}
    change["body"] = format_body(NightDecision("open", "", (BadCase(CASE, ()),)), ())
    github.issues += [dict(theirs), change]
    for day in (1, 2, 3):
        github.add_night(day, night("SLOWER"))
    assert run() == 0
    assert github.issues[0] == theirs
    assert [one["number"] for one in github.issues] == [1, 2, 3]


def test_an_issue_closed_by_hand_is_not_opened_again(run, github):
    for day in (1, 2, 3):
        github.add_night(day, night("SLOWER"))
    assert run() == 0
    github.issues[0] |= {"state": "closed", "closed_at": "2026-11-03T12:00:00Z"}
    for day in (4, 5, 6):
        github.add_night(day, night("SLOWER"))
        assert run() == 0
    assert len(github.issues) == 1


def test_an_issue_that_the_job_closed_is_followed_by_another_one(run, github):
    for day, outcome in enumerate(["SLOWER"] * 3 + ["PASS"], 1):
        github.add_night(day, night(outcome))
        assert run() == 0
    assert github.issues[0]["state"] == "closed"
    assert read_over(github.issues[0]["body"])
    assert "2026-11-01 (3 nights)" in github.issues[0]["body"]
    github.runs.clear()  # what was kept of the nights expired
    for day in (21, 22, 23):
        github.add_night(day, night("SLOWER"))
        assert run() == 0
    assert [one["state"] for one in github.issues] == ["closed", "open"]


def test_many_cases_of_an_issue_closed_by_hand_are_not_told_again(run, github):
    names = [f"t.py::test_latency[{'x' * 60}-{number}]" for number in range(900)]
    content = format_night(Night({name: NightAnswer("SLOWER") for name in names}))
    for day in (1, 2, 3, 4):
        github.add_night(day, content)
        assert run() == 0
    github.issues[0] |= {"state": "closed", "closed_at": "2026-11-04T12:00:00Z"}
    github.add_night(5, content)
    assert run() == 0
    assert len(github.issues) == 1


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ({"/runs": 404}, "status 404; do: give the job permissions: issues: write, actions: read"),
        ({"/zip": 500}, "status 500; do: look at githubstatus.com"),
        ({"/issues": 410}, "status 410; do: turn issues on"),
        ({"/issues": 403}, "status 403; do: give the job permissions: issues: write"),
    ],
)
def test_what_github_refuses_is_one_message(run, github, capsys, fails, said):
    for day in (1, 2, 3):
        github.add_night(day, night("SLOWER"))
    github.fails = fails
    assert run() == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert github.issues == []


def test_a_wrong_token_a_lost_network_and_no_job_are_one_message_each(run, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_TOKEN", "wrong")
    assert run() == 2
    assert "status 401; do: give the job's own token" in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_TOKEN", "")
    assert run() == 2
    assert "the job has no token" in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_TOKEN", "x")
    monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:1")
    assert run() == 2
    assert "GitHub did not do GET actions/workflows/bench.yml/runs" in capsys.readouterr().err
    monkeypatch.setenv("GITHUB_REPOSITORY", "../x y")
    assert run() == 2
    assert "this is no job of GitHub's" in capsys.readouterr().err


@pytest.mark.parametrize(
    "token", ["sec\nret", "sec\r\nret: x", "s\u0119cret", "sec ret", "sec\x00"]
)
def test_a_token_that_is_none_is_one_message_that_does_not_show_it(github, token):
    with serve(github) as environment, pytest.raises(ConfigurationError) as caught:
        make_github(environment | {"GITHUB_TOKEN": token})
    assert "the job's token is no token" in str(caught.value)
    assert not any(part in str(caught.value) for part in ("sec", "ret"))


def test_a_token_with_a_line_end_after_it_is_taken_without(run, github, monkeypatch):
    monkeypatch.setenv("GITHUB_TOKEN", f"{TOKEN}\n")
    assert run() == 0


@pytest.mark.parametrize(
    "address",
    [
        "",
        "api.github.com",
        "file:///etc/passwd",
        "http://example.org",
        "ftp://127.0.0.1/x",
        "https://",
        "https://[",
        "https://h:x/",
        "https://a\nb/",
        "https://me:pw@host/",
    ],
)
def test_only_https_or_this_machine_is_asked(run, monkeypatch, capsys, address):
    monkeypatch.setenv("GITHUB_API_URL", address)
    assert run() == 2
    error = capsys.readouterr().err
    assert "GITHUB_API_URL is no address of GitHub's API" in error
    assert error.count("\n") == 1


def test_no_artefact_is_fetched_from_an_address_that_is_not_https(run, github, capsys):
    github.add_night(1, night("PASS"))
    github.store = "http://example.invalid"
    assert run() == 2
    assert "an address that is not https" in capsys.readouterr().err


def spoil(content, kind):
    """Damage an archive the way the named error of a decompressor asks for."""
    damaged = bytearray(content)
    central = damaged.rfind(b"PK\x01\x02")
    if kind == "zlib":
        damaged[damaged.find(b"night.json") + len("night.json")] = 0xFF
    elif kind == "lzma":
        for at in (8, central + 10):
            damaged[at : at + 2] = struct.pack("<H", 14)
    elif kind == "eof":
        damaged[central + 10 : central + 12] = damaged[8:10] = struct.pack("<H", 0)
        damaged[central + 20 : central + 28] = struct.pack("<II", 10**6, 10**6)
    elif kind == "offset":
        damaged[central + 42 : central + 46] = struct.pack("<I", 2**32 - 2)
    else:
        damaged = bytearray(b"x" * (LARGEST_ANSWER_BYTES + 1))
    return bytes(damaged)


@pytest.mark.parametrize("kind", ["zlib", "lzma", "eof", "offset", "large"])
def test_one_damaged_artefact_says_nothing_and_the_other_nights_count(run, github, kind):
    for day in (1, 2, 3, 4):
        github.add_night(day, night("SLOWER"))
    github.artefacts[102] = (spoil(github.artefacts[102][0], kind), False)
    assert run() == 0
    assert "2026-11-01 (3 nights)" in github.issues[0]["body"]


@pytest.mark.parametrize("status", [404, 410])
def test_one_artefact_that_is_gone_says_nothing_and_the_other_nights_count(run, github, status):
    for day in (1, 2, 3, 4):
        github.add_night(day, night("SLOWER"))
    github.fails = {"/artifacts/102/zip": status}
    assert run() == 0
    assert "2026-11-01 (3 nights)" in github.issues[0]["body"]


def make_bad(name=CASE, reason="slow", commits=("a" * 40, "b" * 40), bisect=ASKS):
    row = Night({name: NightAnswer("SLOWER", reason, bisect)}, commit=commits[1], date="2026-11-02")
    good = Night({name: NightAnswer("PASS")}, commit=commits[0], date="2026-11-01")
    return BadCase(name, (row,) * 3, good)


def test_no_two_cases_of_the_issue_have_one_name():
    names = [f"benchmarks/{file}.py::test_speed[fp32-sync-1w]" for file in ("a", "b")]
    long = [f"x.py::test_{'y' * 90}{middle}{'z' * 90}" for middle in "12"]
    bad = [make_bad(name, "slow") for name in (*names, *long, ALL_CASES)]
    row = Night(
        {name: NightAnswer("SLOWER", "slow") for name in names}, commit="c" * 40, date="2026-11-02"
    )
    body = format_body(NightDecision("open", "", tuple(bad)), [row])
    shown = [line.split("`")[1] for line in body.splitlines() if line.startswith("| `")]
    assert shown[:2] == ["a.py::test_speed[fp32-sync-1w]", "b.py::test_speed[fp32-sync-1w]"]
    assert shown[4] == ALL_CASES
    assert len(set(shown)) == 5
    assert max(map(len, shown)) <= 100
    assert f"2 cases worse: {escape_markdown(', '.join(shown[:2]))}" in body


def test_what_a_file_brings_stands_for_itself_in_the_issue():
    printable = "".join(one for one in EVIL if one.isprintable())
    bad = make_bad(EVIL, EVIL, bisect=("--for", "speed", "--cases", printable))
    body = format_body(NightDecision("open", "", (bad,)), bad.nights)
    assert read_listed(body) == (EVIL,)
    shown = body.partition("\n")[2]
    assert body.partition("\n")[0].count("-->") == 1
    before, _, rest = shown.partition("\n```\n")  # the command stands as it is in its fence
    _, fence, after = rest.partition("\n```\n")
    assert fence
    for words in (re.sub("`[^`]*`", "", part) for part in (before, after)):
        assert not any(markup in words for markup in ("<script>", "<!--", "@you", "](z)"))
    assert "\x1b" not in body
    assert "\x1b" not in format_title([bad])


def test_no_command_is_given_where_an_end_is_unknown():
    assert suggest_command(make_bad()).startswith("sdperf bisect aaaaaaaaaaaa bbbbbbbbbbbb --for")
    for unknown in (
        make_bad(commits=("", "b" * 40)),
        make_bad(commits=("a" * 40, "a" * 40)),
        make_bad(bisect=()),
        BadCase(CASE, make_bad().nights, None),
        BadCase(CASE, ()),
    ):
        assert suggest_command(unknown) is None
        body = format_body(NightDecision("open", "", (unknown,)), ())
        assert "No command can be given" in body


@pytest.mark.parametrize(
    "words",
    [
        (*ASKS, "--pip-option=--index-url=http://evil", "x"),
        (*ASKS, "--pip-option", "--index-url=http://evil"),
        (*ASKS, "--python"),
        (*ASKS, "--for", "image"),
        ("--for", "image", "--cases", "latency[fp32-sync-1w]"),
        ("--cases", "latency[fp32-sync-1w]"),
        (*ASKS, "--model", "--trust"),
        (*ASKS, "--subject", "evil:f;x"),
        (*ASKS, "--batch", "x"),
        (*ASKS, "--set", "subject=evil:f"),
        (*ASKS, "--set", "steps=2,model=evil/model"),
        (*ASKS, "--set", "negative_prompt=blurry,model=evil/model"),
        (*ASKS, "--set", "engine=external:sh -c evil"),
        ("--for", "speed", "--cases", "a\nrm -rf ~\x1b"),
    ],
)
def test_only_what_sdperf_suggests_is_a_command(words):
    assert suggest_command(make_bad(bisect=words)) is None


def test_what_sdperf_suggests_is_a_command():
    words = (*ASKS, "--model", "org/model", "--subject", "pkg.mod:make", "--batch", "8")
    command = suggest_command(make_bad(bisect=(*words, "--set", SUGGESTED)))
    assert command.endswith(f"--subject pkg.mod:make --batch 8 --set '{SUGGESTED}'")


def test_the_ends_of_a_search_are_nights_of_what_is_searched_for():
    outcomes = ["SLOWER", "HEAVIER", "BROKEN", "DEGRADED"]
    row = tuple(
        Night(
            {CASE: NightAnswer(outcome, "", (*("--for", "image"), *ASKS[2:]))},
            commit=f"{day:040x}"[::-1],
        )
        for day, outcome in enumerate(outcomes, 2)
    )
    good = Night({CASE: NightAnswer("PASS")}, commit="a" * 40)
    command = suggest_command(BadCase(CASE, row, good))
    assert command.split()[2:4] == ["a" * 12, "400000000000"]


def test_an_issue_lists_what_it_keeps_and_survives_an_edit():
    many = [make_bad(f"t.py::test_{number}") for number in range(600)]
    body = format_body(NightDecision("update", "", tuple(many)), ())
    assert len(read_listed(body)) == 500
    assert len(body) < 65_536  # GitHub's limit
    assert "... and 570 cases more." in body
    assert read_digests(body) == {digest_name(one.name) for one in many[500:]}
    long = [
        make_bad(
            f"{'<&|>' * 120}{n}",
            "<&|>" * 70,
            bisect=("--for", "speed", "--cases", "&" * 480, "--model", "&" * 480),
        )
        for n in range(5001)
    ]
    assert len(format_body(NightDecision("update", "", tuple(long)), long[0].nights * 7)) < 65_536
    assert "; not measured any more" in format_body(
        NightDecision("update", "", (make_bad(),), absent=(CASE,)), ()
    )
    assert read_digests('<!-- sdperf-nightly {"more": "abc"} -->') == frozenset()
    for edited in ('<!-- sdperf-nightly {"cases": 3} -->', "<!-- sdperf-nightly {oops} -->"):
        assert read_listed(edited) == ()
    for others in ("", "text", None, f"before {body}"):
        assert read_listed(others) is None


def test_the_writing_job_needs_python_alone():
    """It has no other package: nothing is installed where a token could write."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "sdperf.nightly", "issue"],
        cwd=Path(sdperf.__file__).parents[1],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("python -m sdperf.nightly: this is no job of GitHub's; got: ")
