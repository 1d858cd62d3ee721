"""No baseline, accepted, unchanged, slower, refused, accepted: told through pytester."""

import json
import re
from functools import partial

import pytest

from tests.support.stories import accept_sessions


def accepted(pytester):
    return sorted(pytester.path.glob("benchmarks/baselines/*/*.json"))


def test_the_life_of_a_baseline(bench, script, accept, pytester, capsys):
    first = bench("--benchmark-compare")
    assert first.ret == 0
    first.stdout.fnmatch_lines(["compared with nothing*", "2 cases: 2 NO BASELINE"])
    assert not accepted(pytester)
    accept_sessions(pytester, bench, accept)
    assert "the statistical gate binds" in " ".join(capsys.readouterr().out.split())
    before = [path.read_bytes() for path in accepted(pytester)]

    unchanged = bench("--benchmark-compare")
    assert unchanged.ret == 0
    unchanged.stdout.fnmatch_lines(
        [
            "compared with the baselines of this machine: 5 accepted sessions*",
            "limit +3.0 % a case*",
            "2 cases: 2 PASS",
        ]
    )

    script.seconds[1] = 1.06
    slower = bench("--benchmark-compare", "--benchmark-autosave")
    assert slower.ret == 1
    slower.stdout.fnmatch_lines(
        [
            "sdperf confirm: measuring 1 suspect again, at most*",
            "SLOWER  latency*",
            "2 cases: 1 SLOWER, 1 PASS",
            "not saved: a run with a failure*",
        ]
    )
    assert not list(pytester.path.glob(".benchmarks/*/*.json"))
    assert accept() == 2
    assert "SLOWER" in capsys.readouterr().err
    assert [path.read_bytes() for path in accepted(pytester)] == before

    assert accept("--intended-change") == 0
    again = bench("--benchmark-compare")
    assert again.ret == 0
    again.stdout.fnmatch_lines(["2 cases: 2 PASS"])


def test_with_few_sessions_only_gross_slowdowns_fail_and_others_are_advice(
    bench, script, accept, pytester
):
    accept_sessions(pytester, bench, accept, count=1)
    script.seconds = {1: 1.10, 2: 2.6}
    compared = bench("--benchmark-compare")
    assert compared.ret == 1
    compared.stdout.fnmatch_lines(
        [
            "compared with the baselines of this machine: 1 accepted session, 4 more*",
            "only +25.0 % fails; 4 more accepted sessions*+3.0 %*",
            "throughput* SLOWER",
            "latency* INCONCLUSIVE",
            "SLOWER  throughput*",
            "INCONCLUSIVE  latency*+10.0 %*",
            "*next: 4 more accepted sessions*",
        ]
    )


def test_a_limit_of_its_own_by_marker(bench, script, pytester):
    pytester.makepyfile(
        test_bench="""
        import pytest

        @pytest.mark.sd(max_slowdown="50%")
        def test_latency(sd_benchmark):
            sd_benchmark.latency()
        """
    )
    bench("--benchmark-autosave")
    script.seconds[1] = 1.4
    assert bench("--benchmark-compare").ret == 0
    script.seconds[1] = 1.6
    assert bench("--benchmark-compare").ret == 1


@pytest.mark.parametrize("arguments", ['"3%"', 'limit="3%"', 'max_slowdown="much"'])
def test_a_bad_marker_is_one_usage_error(bench, pytester, arguments):
    pytester.makepyfile(
        test_bench=f"""
        import pytest

        @pytest.mark.sd({arguments})
        def test_latency(sd_benchmark):
            sd_benchmark.latency()
        """
    )
    refused = bench("--strict-markers")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(['*the marker sd cannot be used*sd(max_slowdown="3%")*'])


def test_a_saved_run_can_still_be_named(bench, script, pytester):
    bench("--benchmark-save=one")
    script.seconds[1] = 2.0
    bench("--benchmark-save=two")
    named = bench("--benchmark-compare=0001")
    assert named.ret == 1
    named.stdout.fnmatch_lines(["compared with 0001_one.json"])
    last = bench("--benchmark-compare")
    assert last.ret == 0
    last.stdout.fnmatch_lines(["compared with 0002_two.json"])


def test_another_storage_folder_keeps_its_meaning(bench, script, pytester):
    bench("--benchmark-save=one", "--benchmark-storage=elsewhere")
    assert list(pytester.path.glob("elsewhere/*/0001_one.json"))
    compared = bench("--benchmark-compare", "--benchmark-storage=elsewhere")
    compared.stdout.fnmatch_lines(["compared with 0001_one.json", "2 cases: 2 PASS"])


def test_another_fingerprint_shows_the_nearest_for_information(
    bench, script, accept, pytester, monkeypatch
):
    accept_sessions(pytester, partial(bench, "--benchmark-autosave"), accept, count=1)
    from sdperf.run.suite import Suite

    environment = Suite.environment
    monkeypatch.setattr(Suite, "environment", lambda suite: moved(environment(suite)))
    script.seconds[1] = 9.0
    elsewhere = bench("--benchmark-compare")
    assert elsewhere.ret == 1
    assert re.search(r"no baseline of this machine:\s+\S*another-chip", elsewhere.stdout.str())
    elsewhere.stdout.fnmatch_lines(
        [
            "nearest baselines, for information:*",
            "*2 cases took*not judged",
            "compared with 0001*",
            "nothing was compared: *",
            "INCOMPARABLE  latency*, throughput*",
            "*measured on*",
        ]
    )


def moved(environment):
    import dataclasses

    return dataclasses.replace(environment, chip="Another Chip")


def test_the_last_run_is_kept_whatever_became_of_it(bench, script, pytester):
    bench()
    last = pytester.path / ".sdperf" / "last-run.json"
    document = json.loads(last.read_text())
    assert set(document["sdperf"]["outcomes"].values()) == {"NO BASELINE", "PASS"} - {"PASS"}
    assert document["benchmarks"][0]["stats"]["data"]
    image = document["benchmarks"][0]["extra_info"]["sdperf"]["images"][0]
    assert (last.parent / "images" / f"{image['sha256']}.png").exists()


def test_faster_is_reported_with_the_hint_to_accept(bench, script, accept, pytester):
    accept_sessions(pytester, partial(bench, "-k", "latency"), accept)
    script.seconds[1] = 0.8
    faster = bench("--benchmark-compare", "-k", "latency")
    assert faster.ret == 0
    faster.stdout.fnmatch_lines(["1 case: 1 FASTER", "faster: sdperf baseline accept*"])


def test_a_case_without_a_baseline_is_looked_for_in_the_last_saved_run(
    bench, script, accept, pytester
):
    accept_sessions(pytester, partial(bench, "-k", "latency"), accept, count=1)
    bench("--benchmark-save=both")
    compared = bench("--benchmark-compare")
    compared.stdout.fnmatch_lines(
        [
            "compared with the baselines of this machine: 1 accepted session*",
            "no baseline has throughput*, but the saved run 0001_both.json does:*",
            "*NO BASELINE*",
        ]
    )
    named = bench("--benchmark-compare=0001")
    named.stdout.fnmatch_lines(["compared with 0001_both.json", "2 cases: 2 PASS"])


def test_each_case_in_fresh_processes_flags_two_speeds(bench, script, pytester):
    script.drift = lambda made: 1.8 if 4 < made <= 8 else 1.0  # 4 calls a process
    split = bench("-k", "latency", processes=3)
    assert split.ret == 0
    split.stdout.fnmatch_lines(
        [
            "INCONCLUSIVE  latency*33% of 3 processes run 1.80x slower*",
            "*pytest --sd-processes 9 shows*",
        ]
    )
    document = json.loads((pytester.path / ".sdperf" / "last-run.json").read_text())
    (saved,) = document["benchmarks"]
    assert saved["stats"]["data"] == pytest.approx([1.0, 1.0, 1.8, 1.8, 1.0, 1.0])
    assert saved["extra_info"]["sdperf"]["processes"] == 3
