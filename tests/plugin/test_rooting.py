"""A value of an option that lies elsewhere does not silently move the root with the baselines."""

import pytest

from sdperf.shell import join_command


@pytest.fixture
def project(pytester, monkeypatch):
    """A project without an ini file, beside another folder; pytest is called in the project."""
    (pytester.path / "elsewhere").mkdir()
    (pytester.path / "elsewhere" / "p.txt").write_text("a cat\n")
    benchmarks = pytester.path / "project" / "benchmarks"
    benchmarks.mkdir(parents=True)
    (benchmarks / "test_bench.py").write_text("def test_it(sd_benchmark): sd_benchmark.latency()\n")
    monkeypatch.chdir(benchmarks.parent)
    return benchmarks.parent


def collect(pytester, *words):
    return pytester.runpytest_inprocess("--collect-only", "-q", "-p", "no:cacheprovider", *words)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--sd-prompts", "../elsewhere/p.txt"),
        ("--sd-history", "../elsewhere/p.txt"),
        ("--sd-baselines", "../elsewhere"),
        ("--benchmark-storage", "../elsewhere"),
    ],
)
def test_a_value_elsewhere_is_refused_with_the_command_that_keeps_the_root(
    option, value, project, pytester
):
    refused = collect(pytester, option, value, "benchmarks")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    (said,) = [line for line in refused.errlines if "another folder for its root" in line]
    assert f"got: {option} {value}, and {pytester.path} as the root" in said
    assert f"expected: {project} as the root" in said
    typed = join_command(["--collect-only", "-q", "-p", "no:cacheprovider", f"{option}={value}"])
    assert typed in said
    kept = collect(pytester, f"{option}={value}", "benchmarks")
    assert kept.ret == 0
    kept.stdout.fnmatch_lines(["benchmarks/test_bench.py::test_it*"])


def test_the_ini_file_of_another_project_is_not_taken_either(project, pytester):
    (pytester.path / "elsewhere" / "pytest.ini").write_text("[pytest]\nsd_steps = 7\n")
    refused = collect(pytester, "--sd-prompts", "../elsewhere/p.txt")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert f"{pytester.path / 'elsewhere'} as the root" in "".join(refused.errlines)


def test_the_environment_is_told_where_it_names_the_value(project, pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--sd-prompts ../elsewhere/p.txt")
    refused = collect(pytester, "benchmarks")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    said = "".join(refused.errlines)
    assert "write it with = in PYTEST_ADDOPTS: --sd-prompts=../elsewhere/p.txt" in said


def test_a_value_in_a_file_of_words_is_found(project, pytester):
    (project / "words.txt").write_text("--sd-prompts\n../elsewhere/p.txt\n")
    refused = collect(pytester, "@words.txt", "benchmarks")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    assert "--sd-prompts=../elsewhere/p.txt benchmarks" in "".join(refused.errlines)


@pytest.mark.parametrize("root", ["pytest.ini", "--rootdir", "-c", "inside"])
def test_a_value_that_moves_nothing_is_taken(root, project, pytester):
    words = ["--sd-prompts", "../elsewhere/p.txt", "benchmarks"]
    if root == "pytest.ini":
        (project / "pytest.ini").write_text("[pytest]\n")
        words = words[-1:] + words[:-1]
    elif root == "-c":
        (project / "my.ini").write_text("[pytest]\n")
        words += ["-c", "my.ini"]
    elif root == "--rootdir":
        words += ["--rootdir", "."]
    else:
        (project / "p.txt").write_text("a cat\n")
        words[1] = "p.txt"
    assert collect(pytester, *words).ret == 0


def test_a_session_without_cases_is_none_of_its_business(project, pytester):
    (project / "benchmarks" / "test_bench.py").write_text("def test_own(): pass\n")
    assert collect(pytester, "--benchmark-storage", "../elsewhere", "benchmarks").ret == 0
