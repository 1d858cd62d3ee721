"""What a newcomer meets first: faults of a whole session, and what other plugins bring along."""

import json
import os
import sys
import types

import pytest

from sdperf.plugin.progress import LiveLine
from sdperf.report.markdown.words import escape_markdown
from tests.support.stories import unwrap


def count_lines(result, text):
    return sum(text in line for line in unwrap(result).lines)


def test_a_fault_that_all_cases_have_in_common_is_said_once(bench, pytester):
    pytester.makepyfile(nowhere="import no_such_library")
    broken = bench(subject="nowhere:make")
    assert broken.ret == 1
    broken.assert_outcomes(failed=2)
    assert count_lines(broken, "do: python -c 'import nowhere'") == 1  # whole in the test alone
    assert count_lines(broken, "as in test_bench.py::test_latency[fp32-sync-1w]") == 1
    assert count_lines(broken, "BROKEN  latency") == 1
    broken.stdout.fnmatch_lines(["BROKEN  latency*, throughput*: SubjectError: *"])


def test_a_broken_case_brings_no_second_error_where_warnings_are_errors(bench, pytester):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(nowhere="import no_such_library")
    broken = bench(subject="nowhere:make")
    broken.assert_outcomes(failed=2)
    assert "was not used at all" not in broken.stdout.str()


def test_a_case_that_its_variant_skips_is_no_error_where_warnings_are_errors(
    bench, pytester, hosts
):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(test_bench="def test_gain(sd_gain): sd_gain.latency()")
    skipped = bench(spawned=True)
    assert set(skipped.parseoutcomes()) == {"skipped"}
    assert skipped.ret == 0


@pytest.mark.parametrize("fixture", ["sd_benchmark", "sd_gain"])
def test_a_case_that_does_not_suit_the_machine_is_skipped_and_not_broken_too(
    fixture, bench, pytester, hosts
):
    pytester.makeini("[pytest]\nfilterwarnings = error\n")
    pytester.makepyfile(test_bench=f"def test_it({fixture}): {fixture}.latency()")
    options = {"precision": "auto", "workers": "auto", "optimisations": "channels_last"}
    skipped = bench("-k", "2w or 4w", spawned=True, **options)
    assert "BROKEN" not in skipped.stdout.str()
    assert set(skipped.parseoutcomes()) == {"skipped", "deselected"}


def test_what_fails_when_a_skipped_case_is_torn_down_is_no_case(bench, pytester, script):
    pytester.makepyfile(
        test_bench="""
        import pytest

        @pytest.fixture
        def held():
            yield
            raise RuntimeError("let go")

        def test_skipped(held, sd_benchmark):
            pytest.skip("not today")

        def test_latency(sd_benchmark):
            sd_benchmark.latency()
        """
    )
    run = bench()
    assert run.parseoutcomes() == {"passed": 1, "skipped": 1, "errors": 1}
    run.stdout.fnmatch_lines(["2 cases: 1 NO BASELINE, 1 skipped"])
    assert run.ret == 1


def test_a_second_case_in_one_test_is_refused_before_it_is_loaded(bench, pytester):
    pytester.makepyfile(
        test_bench="def test_two(sd_benchmark): sd_benchmark.latency(), sd_benchmark.throughput()"
    )
    refused = bench()
    refused.assert_outcomes(failed=1)
    unwrap(refused).fnmatch_lines(["*a test measures one case*write a test of its own for it*"])


def test_what_auto_chose_is_skipped_with_a_subject_and_never_broken(bench, pytester, script):
    pytester.makepyfile(
        subject="def make(request): return request.load()",
        test_bench="def test_latency(sd_benchmark): sd_benchmark.latency()",
    )
    run = bench(subject="subject:make", engine="auto")
    assert "BROKEN" not in run.stdout.str()
    run.stdout.fnmatch_lines(["skipped: *the engine onnx takes no --sd-subject*"])
    named = bench(subject="subject:make", engine="onnx")
    assert named.ret == 1
    named.stdout.fnmatch_lines(["BROKEN *the engine onnx takes the model's own*"])


@pytest.mark.parametrize(
    ("options", "package", "extra"),
    [({"engine": "onnx"}, "onnxruntime", "onnx"), ({"html": "x.html"}, "matplotlib", "report")],
)
def test_a_missing_extra_is_said_before_anything_is_loaded(
    options, package, extra, bench, script, monkeypatch
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(
        "sdperf.engines.requirements.explain_absence",
        lambda choice, kind, find: (
            None
            if choice.name == "torch"
            else f"{choice.name} is missing: pip install 'sdperf[onnx]'"
        ),
    )
    refused = bench(**options)
    assert refused.ret == 4
    refused.stderr.fnmatch_lines([f"ERROR: *do: pip install 'sdperf[[]{extra}]'"])
    assert script.rounds == 0


def test_a_report_that_cannot_be_drawn_costs_neither_table_nor_verdict(bench, monkeypatch, script):
    def fail(*_):
        raise RuntimeError("of the drawing package\nand more")

    monkeypatch.setattr("sdperf.report.html.files.write_report", fail)
    run = bench(html="x.html")
    assert run.ret == 3
    run.stdout.fnmatch_lines(
        ["latency*NO BASELINE", "--sd-html: no report: RuntimeError: of the drawing*"]
    )


@pytest.mark.parametrize(
    ("subject", "line"),
    [
        ("def make(request):\n    return {}['unet']\n", "2 in make: return {}[[]'unet'[]]"),
        (
            "def make(request):\n"
            "    pipeline = request.load()\n"
            "    def forward(*arguments, **named):\n"
            "        return {}['unet']\n"
            "    pipeline.unet.forward = forward\n"
            "    return pipeline\n",
            "4 in forward: return {}[[]'unet'[]]",
        ),
        (
            "import torch\ndef make(request):\n    torch.zeros(2).matmul(torch.zeros(3))\n",
            "3 in make: torch.zeros(2).matmul*",
        ),
    ],
)
@pytest.mark.parametrize("spawned", [False, pytest.param(True, marks=pytest.mark.long)])
def test_what_a_subject_raises_is_said_with_the_users_own_line(
    subject, line, spawned, bench, pytester
):
    pytester.makepyfile(raising=subject)
    broken = bench("-k", "latency", subject="raising:make", spawned=spawned, workers=1)
    broken.assert_outcomes(failed=1)
    unwrap(broken).fnmatch_lines([f"GenerationError: the pipeline failed;*(raising.py:{line})*"])
    assert "--sd-in-process" not in broken.stdout.str()


def test_a_subjects_module_that_cannot_be_imported_is_said_with_its_line(bench, pytester):
    pytester.makepyfile(broken_module="x = 1\nraise KeyError('settings')\n")
    broken = bench("-k", "latency", subject="broken_module:make")
    unwrap(broken).fnmatch_lines(["*cannot be imported; got: KeyError*(broken_module.py:2 in *"])


FROM_PICTURES = """
import diffusers

def make(request):
    parts = request.load().components
    names = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
    chosen = {name: parts[name] for name in names}
    if "ControlNet" in CLASS:
        chosen["controlnet"] = diffusers.ControlNetModel.from_unet(parts["unet"])
    return getattr(diffusers, CLASS)(
        **chosen, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
"""


@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionControlNetPipeline",
    ],
)
def test_how_a_pipeline_that_starts_from_a_picture_is_sampled_is_asked_before_timing(
    name, bench, pytester, script
):
    pytester.makepyfile(pictures=f"CLASS = '{name}'\n{FROM_PICTURES}")
    broken = bench("-k", "latency", subject="pictures:make")
    unwrap(broken).fnmatch_lines(
        [
            f"ConfigurationError: the subject returned a {name}, and guidance was left "
            "open: *--sd-guidance X*"
        ]
    )
    assert script.rounds == 0


OWN_CALL = """
from diffusers import StableDiffusionPipeline

class MyImg2ImgPipeline(StableDiffusionPipeline):
    pass

def make(request):
    return MyImg2ImgPipeline(**request.load().components, requires_safety_checker=False)
"""


def test_a_class_of_ones_own_is_judged_by_its_call_and_not_by_its_name(bench, pytester, unwatched):
    pytester.makepyfile(named=OWN_CALL)
    assert bench("-k", "latency", subject="named:make").ret == 0


TWO_IMAGES = """
def make(request):
    pipeline = request.load()

    class Twice(type(pipeline)):
        def __call__(self, *arguments, **named):
            return super().__call__(*arguments, **named | {"num_images_per_prompt": 2})

    pipeline.__class__ = Twice
    return pipeline
"""
DOUBLED = """
def make(request):
    pipeline = request.load()

    class Doubled(type(pipeline)):
        def __call__(self, *arguments, **named):
            made = super().__call__(*arguments, **named)
            images = made[0] if isinstance(made, tuple) else made.images
            doubled = [*images, *images]
            if isinstance(made, tuple):
                return (doubled, *made[1:])
            made.images = doubled
            return made

    pipeline.__class__ = Doubled
    return pipeline
"""


@pytest.mark.parametrize("subject", [TWO_IMAGES, DOUBLED])
def test_a_subject_that_makes_two_images_of_a_prompt_is_told_so(subject, bench, pytester):
    pytester.makepyfile(two_images=subject)
    broken = bench("-k", "latency", subject="two_images:make")
    broken.assert_outcomes(failed=1)
    unwrap(broken).fnmatch_lines(["GenerationError: * makes 2 images where it was asked for 1;*"])


CHECKED = """
import torch

class Checker(torch.nn.Module):
    pass

def make(request):
    pipeline = request.load()
    pipeline.register_modules(safety_checker=Checker())
    return pipeline
"""


def test_what_has_no_effect_is_said_and_recorded(bench, pytester, unwatched):
    (pytester.path / "prompts.txt").write_text("a red kite\n" + "very " * 60 + "long\n")
    pytester.makepyfile(checked=CHECKED)
    options = {"prompts": "prompts.txt", "negative-prompt": "grey", "guidance": 1}
    run = bench("--sd-markdown=said.md", subject="checked:make", **options)
    assert run.ret == 0
    said = [line for line in run.outlines if line.startswith("without effect: ")]
    assert said == [
        "without effect: the negative prompt, which takes a guidance above 1 (it is 1)",
        "without effect: the pipeline's safety checker, which is left out and not measured",
        "without effect: the ends of 1 prompt of 3: tokenizer takes 24 tokens",
    ]
    page = (pytester.path / "said.md").read_text()
    assert all(escape_markdown(line) in page for line in said)
    cases = json.loads((pytester.path / ".sdperf/last-run.json").read_text())["benchmarks"]
    recorded = [one["extra_info"]["sdperf"]["without_effect"] for one in cases]
    assert [len(one) for one in recorded] == [2, 3]


def test_settings_that_all_have_an_effect_are_not_remarked_upon(bench, pytester, unwatched):
    (pytester.path / "prompts.txt").write_text("kite\ncat\n")
    run = bench("-k", "latency", prompts="prompts.txt", **{"negative-prompt": "grey"})
    assert "without effect" not in run.stdout.str()


CODSPEED = """
def pytest_addoption(parser):
    parser.addoption("--codspeed", action="store_true")

def pytest_configure(config):
    plugin = type("Codspeed", (), {"is_codspeed_enabled": config.getoption("--codspeed")})()
    config.pluginmanager.register(plugin, "codspeed_plugin")
"""


def test_another_plugin_in_the_place_of_pytest_benchmark_is_said_at_the_start(
    bench, pytester, script
):
    pytester.makeconftest(CODSPEED)
    refused = bench("--codspeed")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: *whose place pytest-codspeed takes; got: --codspeed;*"])
    assert script.rounds == 0
    assert bench().ret == 0


def test_pytest_benchmark_that_is_switched_off_is_said_at_the_start(bench, script):
    refused = bench("-p", "no:benchmark")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: *which is switched off; got: -p no:benchmark;*"])
    assert script.rounds == 0


def test_a_benchmark_fixture_that_is_not_pytest_benchmarks_is_one_message(bench, pytester):
    pytester.makeconftest(
        "import pytest\n@pytest.fixture\ndef benchmark():\n    return lambda function: function()\n"
    )
    broken = bench("-k", "latency")
    unwrap(broken).fnmatch_lines(
        ["ConfigurationError: the fixture benchmark is not pytest-benchmark's*function*"]
    )


@pytest.mark.parametrize(
    "subject",
    [
        "import sys\ndef make(request):\n    sys.exit(3)\n",
        "import sys\n"
        "def make(request):\n"
        "    pipeline = request.load()\n"
        "    pipeline.unet.forward = lambda *_, **__: sys.exit(3)\n"
        "    return pipeline\n",
    ],
)
def test_a_subject_that_ends_the_process_is_one_message(subject, bench, pytester):
    pytester.makepyfile(ending=subject)
    broken = bench(subject="ending:make")
    broken.assert_outcomes(failed=2)
    unwrap(broken).fnmatch_lines(["GenerationError: the pipeline failed; got: SystemExit: 3 (*"])
    assert "raised in repr()" not in broken.stdout.str()


@pytest.mark.long
def test_a_name_that_is_no_utf8_is_shown_where_the_terminal_takes_ascii_only(
    bench, pytester, monkeypatch
):
    (pytester.path / "test_bench.py").rename(pytester.path / os.fsdecode(b"test_\xfe.py"))
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    options = {"history": "h.db", "html": "x.html", "markdown": "x.md"}
    run = bench("-k", "latency", in_process=False, workers=1, **options)
    assert run.ret == 0
    assert "Error" not in run.stdout.str() + run.stderr.str()
    (saved,) = json.loads((pytester.path / ".sdperf/last-run.json").read_text())["benchmarks"]
    assert saved["fullname"].startswith("test_\udcfe.py::")


@pytest.mark.parametrize(
    ("isatty", "is_live"),
    [(True, True), (False, False), (lambda: True, True), (lambda: False, False)],
)
def test_a_terminal_is_known_by_a_property_as_by_a_method(isatty, is_live, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert LiveLine(types.SimpleNamespace(isatty=isatty)).is_live == is_live
