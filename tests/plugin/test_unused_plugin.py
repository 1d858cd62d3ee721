"""A session that uses none of our fixtures is not changed by an installed plugin."""

import json
import subprocess
import sys
from typing import get_args

import pytest

from sdperf.device import DEVICE_CHOICES
from sdperf.engines.catalogue import ENGINES
from sdperf.pipeline.optimisations.catalogue import DEFAULT, PLAIN
from sdperf.record.measurement import GuardPolicy
from sdperf.record.workload import EMBEDDED, MODES, PRECISIONS, TORCH
from sdperf.settings import DEVICE, ENGINE, GUARDS, MODE, MODEL, OPTIMISATIONS, PRECISION

MOST_MODULES = 10
COUNTING = """
import json, sys

def loaded():
    watched = ("sdperf", "numpy", "PIL", "msgspec")
    return sorted(name for name in sys.modules if name.split(".")[0] in watched)

EARLY = loaded()

def pytest_unconfigure(config):
    with open("loaded.json", "w") as file:
        json.dump({"early": EARLY, "late": loaded()}, file)
"""


def run_session(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "loaded.json").read_text())


@pytest.mark.parametrize("ini", ["", "sd_steps = 2\n"])
def test_it_loads_neither_numpy_nor_pil_and_few_modules_of_ours(tmp_path, ini):
    (tmp_path / "pytest.ini").write_text(f"[pytest]\n{ini}")
    (tmp_path / "conftest.py").write_text(COUNTING)
    (tmp_path / "test_own.py").write_text(
        "def test_own(benchmark):\n    benchmark.pedantic(int, rounds=1)\n"
    )
    loaded = run_session(tmp_path, "--benchmark-compare")
    for names in loaded.values():
        assert not {name.split(".")[0] for name in names} & {"numpy", "PIL", "msgspec"}, names
        assert "sdperf.plugin" in names
        assert len(names) <= MOST_MODULES, names


def test_an_option_of_ours_is_checked_also_where_no_test_uses_it(pytester):
    pytester.makepyfile("def test_own(): pass")
    assert pytester.runpytest_inprocess("--sd-steps=2").ret == 0
    refused = pytester.runpytest_inprocess("--sd-steps=two")
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: --sd-steps cannot be used; got: 'two'*"])


def test_an_ini_setting_is_checked_where_a_test_uses_it(pytester):
    pytester.makeini("[pytest]\nsd_steps = two\n")
    own = pytester.makepyfile(test_own="def test_own(): pass")
    assert pytester.runpytest_inprocess(own).ret == 0
    pytester.makepyfile(test_bench="def test_bench(sd_benchmark): sd_benchmark.latency()")
    refused = pytester.runpytest_inprocess()
    assert refused.ret == 4
    refused.stderr.fnmatch_lines(["ERROR: --sd-steps cannot be used; got: 'two'*"])


def test_the_table_of_settings_names_what_there_is():
    assert MODEL.default == EMBEDDED
    assert ENGINE.default == TORCH
    assert MODE.default == ",".join(MODES)
    for setting, names in (
        (DEVICE, DEVICE_CHOICES),
        (PRECISION, PRECISIONS),
        (MODE, MODES),
        (ENGINE, (*ENGINES, "external:COMMAND")),
        (GUARDS, get_args(GuardPolicy)),
    ):
        assert setting.kind.expected == ", ".join(names)
    assert f"{PLAIN} is the plain pipeline, {DEFAULT} what" in OPTIMISATIONS.help
