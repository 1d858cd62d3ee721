"""A contribution names nobody, whatever was planted in the run; a received one is doubted."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.cli.machine.contribute import fill_page
from sdperf.errors import ConfigurationError, RecordError
from sdperf.record.guard import Guard
from sdperf.record.measurement import ExcludedRound, GuardLog
from sdperf.record.stages import StageTimes
from sdperf.record.usage import ProcessUsage, ResourceUsage
from sdperf.record.workload import Variant, Workload
from sdperf.store.contribution import contribution as module
from sdperf.store.contribution.anonymity import Identity, clean_environment, find_identifying
from sdperf.store.contribution.contribution import (
    build_contribution,
    format_contribution,
    name_file,
    parse_contribution,
)
from sdperf.store.runs import parse_run
from tests.support.full_record import full_measurement
from tests.support.measurements import ENVIRONMENT, image, measurement
from tests.support.saved_runs import make_benchmark

MACHINE = dataclasses.replace(ENVIRONMENT, chip="AMD EPYC")
IDENTITY = Identity(("annas-mbp", "anna.secret"))
PLANTED = {
    "host": "annas-mbp",
    "domain": "annas-mbp.local",
    "user": "anna.secret",
    "path": "/Users/anna.secret/finetunes/cat",
    "serial": "C02ZK1ABMD6T",
    "board serial": "10000000abcdef01",
    "mail": "anna.secret@example.org",
    "hardware": "a4:83:e7:11:22:33",
    "address": "192.168.7.41",
    "identifier": "GPU-8f2b1c9a-1d2e-4f3a-8b7c-0123456789ab",
    "prompt": "a portrait of my daughter",
    "branch": "secret-feature",
}


def guard(text):
    return Guard("load", "warn", text, f"{text} is running", f"end {text}")


def plant(text):
    """A measurement with ``text`` wherever somebody's text can get into one."""
    where = dataclasses.replace(
        ENVIRONMENT,
        chip=text,
        device_name=text,
        machine=text,
        os_name=text,
        os_version=f"31.4 {text}",
        python=f"3.12.1 ({text})",
        os_build=f"6.1.0-{text}",
        power_source=text,
        power_mode=text,
        thermal_level=text,
        driver=text,
        commit=text,
        packages={"torch": f"2.13.0+{text}", text: "1.0", "diffusers": text},
        variables={"PYTORCH_MPS_X": text, f"TORCH_{text}": "1", "OMP_NUM_THREADS": "4"},
    )
    log = GuardLog(
        "warn",
        before=(guard(text),),
        during=(guard(text),),
        after=(guard(text),),
        excluded=(ExcludedRound(1.0, text),),
        allowed=(text,),
    )
    usage = ResourceUsage(
        1.0, 2, probes=(text,), faults=(text,), processes=(ProcessUsage(7, text, 1.0, 1.0, 1),)
    )
    return measurement(
        environment=where,
        workload=Workload(text, (text,), 20, 5.0, negative_prompt=text, scheduler=text),
        model_hash=text,
        subject=text,
        images=(image(prompt=text, faults=(text,), sha256="d" * 64),),
        guards=log,
        resources=usage,
    )


def run_of(*measurements, outcome="PASS", text="here", summary=None):
    document = {
        "machine_info": {"node": text, "cpu": {"brand_raw": text}},
        "commit_info": {"id": text, "branch": text, "project": text},
        "benchmarks": [
            make_benchmark(f"{text}/test_latency.py::case{number}", one, outcome)
            for number, one in enumerate(measurements)
        ],
        "sdperf": {"format_version": 1, "outcomes": {}} | (summary or {}),
    }
    return parse_run(Path("run.json"), json.loads(json.dumps(document)))


@pytest.mark.parametrize("kind", PLANTED)
def test_nothing_that_was_planted_survives(kind):
    text = PLANTED[kind]
    content = format_contribution(
        build_contribution(run_of(plant(text), text=text, outcome=text)), IDENTITY
    )
    said = content.decode().casefold()
    assert all(planted.casefold() not in said for planted in PLANTED.values())
    assert "anna" not in said
    assert "daughter" not in said
    parse_contribution(content)


def test_every_text_of_an_environment_is_cleaned():
    """A field that is added later must be cleaned too."""
    texts = [
        each.name
        for each in dataclasses.fields(ENVIRONMENT)
        if str(each.type) in ("str", "str | None")
    ]
    assert len(texts) > 10
    planted = dataclasses.replace(ENVIRONMENT, **dict.fromkeys(texts, PLANTED["path"]))
    assert find_identifying(dataclasses.asdict(clean_environment(planted)), IDENTITY) == []


def test_what_is_measured_survives():
    known = GuardLog("warn", (Guard("load", "ok", None, ""),))
    full = dataclasses.replace(full_measurement(), environment=MACHINE, guards=known)
    made = build_contribution(run_of(full, measurement(environment=MACHINE)))
    assert parse_contribution(format_contribution(made, IDENTITY)) == made
    case = made.cases[1]
    assert (case.rounds_s, case.model, case.outcome) == ((1.0, 1.1, 0.9), "embedded", "PASS")
    assert (case.seconds_per_image, case.prompts, case.has_subject) == (1.0, "default", False)
    assert (case.lowest_ssim, case.width, case.stages) == (1.0, 128, measurement().stages)
    assert made.cases[0].resources["tree_cpu_percent"] == 1.0
    assert made.environment.packages == {"torch": "2.13.0+cpu"}


def test_guards_are_counted_by_their_worst():
    def log(*states):
        names = ("load", "swap", "Rosetta")
        return GuardLog(
            "warn",
            tuple(Guard(name, state, None, "") for name, state in zip(names, states, strict=True)),
        )

    run = run_of(
        measurement(guards=log("ok", "ok", "fail")), measurement(guards=log("warn", "ok", "ok"))
    )
    assert dict(build_contribution(run).count_guards()) == {"warn": 1, "ok": 1, "fail": 1}


def test_settings_are_kept_and_places_are_not():
    variables = {"OMP_NUM_THREADS": "4", "PYTORCH_MPS_FAST_MATH": "True", "MTL_X": "/opt/x"}
    cleaned = clean_environment(dataclasses.replace(ENVIRONMENT, variables=variables))
    assert cleaned.variables == variables | {"MTL_X": "set"}
    mac = dataclasses.replace(ENVIRONMENT, os_name="macOS", os_build="25B78", commit="f" * 40)
    assert clean_environment(mac).os_build == "25B78"
    assert clean_environment(mac).commit is None


def test_a_builder_that_lets_something_through_is_caught(monkeypatch):
    monkeypatch.setattr(module, "clean_environment", lambda environment: environment)
    for kind in ("path", "serial", "board serial", "mail", "hardware", "address", "identifier"):
        with pytest.raises(ConfigurationError, match=r"name a person.*environment") as error:
            format_contribution(build_contribution(run_of(plant(PLANTED[kind]))), Identity())
        assert PLANTED[kind] not in str(error.value)
    with pytest.raises(ConfigurationError, match="a name"):
        format_contribution(build_contribution(run_of(plant("annas-mbp"))), IDENTITY)


def test_a_user_who_is_called_like_a_chip_or_a_word_of_sdperf_may_contribute():
    names = Identity(("Apple", "debian", "latency", "embedded", "load", "max"))
    log = GuardLog("warn", before=(Guard("load", "ok", None, ""),))
    run = run_of(
        measurement(guards=log, environment=dataclasses.replace(ENVIRONMENT, chip="Apple M9 Max"))
    )
    assert format_contribution(build_contribution(run), names)


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (run_of(), "holds nothing"),
        (run_of(measurement(), summary={"void": "the null control failed"}), "null control failed"),
        (
            run_of(
                measurement(),
                measurement(environment=dataclasses.replace(ENVIRONMENT, chip="Other")),
            ),
            "several machines",
        ),
    ],
)
def test_a_run_that_says_nothing_is_refused(run, words):
    with pytest.raises(RecordError, match=words):
        build_contribution(run)


def drop(value, newer):
    if isinstance(value, dict):
        return {name: drop(one, newer) for name, one in value.items() if name != newer}
    return [drop(one, newer) for one in value] if isinstance(value, list) else value


def test_a_bundle_that_is_older_than_a_field_is_taken():
    made = build_contribution(run_of(measurement(stages=StageTimes(0.1, 0.5, 0.2, 0.01))))
    document = json.loads(format_contribution(made, IDENTITY))
    older = drop(document, "encode_image_s")
    assert older != document
    assert parse_contribution(json.dumps(older).encode()) == made


def change(document, *keys, value):
    for key in keys[:-1]:
        document = document[key]
    document[keys[-1]] = value


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        (("surprise",), 1, "holds more"),
        (("cases", 0, "note"), "hello", "holds more"),
        (("contribution_version",), 2, "another sdperf"),
        (("cases",), [], "no case"),
        (("cases", 0, "rounds_s"), [0.0], "rounds_s"),
        (("cases", 0, "rounds_s"), [], "rounds_s"),
        (("cases", 0, "images_per_round"), 0, "images_per_round"),
        (("cases", 0, "model"), "my/own", "model"),
        (("cases", 0, "variant"), "fp32 | x", "variant"),
        (("cases", 0, "scheduler"), "EvilScheduler](x)", "scheduler"),
        (("cases", 0, "width"), -1, "width"),
        (("cases", 0, "guards"), {"mood": "ok"}, "guards"),
        (("cases", 0, "guards"), {"load": "fine"}, "state|guards|got"),
        (("cases", 0, "resources"), {"joy_j": 1.0}, "resources"),
        (("cases", 0, "outcome"), "GREAT", "outcome"),
        (("environment", "chip"), "a|b", "name somebody"),
        (("environment", "chip"), "see /Users/x", "name somebody"),
        (("environment", "commit"), "f" * 40, "name somebody"),
        (("environment", "variables"), {"PYTORCH_X": "a b"}, "name somebody"),
    ],
)
def test_a_bundle_that_was_changed_is_not_taken(keys, value, words):
    document = json.loads(format_contribution(build_contribution(run_of(measurement())), IDENTITY))
    parse_contribution(json.dumps(document).encode())
    change(document, *keys, value=value)
    with pytest.raises(RecordError, match=words):
        parse_contribution(json.dumps(document).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"{}", b"[" * 100_000, b'{"cases": NaN}'])
def test_what_is_no_bundle_is_a_record_error(content):
    with pytest.raises(RecordError):
        parse_contribution(content)
    with pytest.raises(RecordError, match="too large"):
        parse_contribution(b" " * (2**20 + 1))


@given(st.binary(max_size=60))
def test_no_bytes_escape(content):
    with pytest.raises(RecordError):
        parse_contribution(content)


def test_an_apple_gpu_in_a_virtual_machine_is_no_evidence():
    mac = dataclasses.replace(ENVIRONMENT, device_kind="mps")
    log = GuardLog("warn", before=(Guard("virtual machine", "fail", "yes", ""),))
    made = build_contribution(run_of(measurement(environment=mac, guards=log)))
    with pytest.raises(RecordError, match="no evidence"):
        parse_contribution(format_contribution(made, IDENTITY))


def test_a_files_name_follows_machine_and_content():
    made = build_contribution(run_of(measurement()))
    content = format_contribution(made, IDENTITY)
    assert name_file(made, content) == name_file(made, content)
    assert name_file(made, content) != name_file(made, content + b" ")
    assert name_file(made, content).startswith("cpu--unknown--4cpu--16gib")


def test_variants_keep_their_optimisations():
    run = run_of(measurement(variant=Variant("fp16", optimisations=("compile", "step_cache3"))))
    (case,) = build_contribution(run).cases
    assert case.variant == "fp16-sync-1w-compile-step_cache3"


def test_the_page_of_machines_is_what_its_bundles_make():
    page = Path(__file__).parents[3] / "docs" / "results" / "machines" / "README.md"
    assert fill_page(page) == page.read_text(encoding="utf-8")
