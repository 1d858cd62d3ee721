"""Packages that nothing needs, whose versions would change nothing."""

from dataclasses import dataclass, field

import pytest

from sdperf.cli.shared.unused import find_needed, list_requirements, warn_unused
from sdperf.record.workload import Workload
from tests.support.bisecting import WORKLOAD

INSTALLED = {
    "sdperf": ["Torch>=2.6", "onnx>=1.18; extra == 'onnx'"],
    "torch": ["sympy", "opt_einsum>=3; extra == 'opt-einsum'"],
    "onnx": ["protobuf>=4"],
    "opt-einsum": ["numpy"],
}


@dataclass(frozen=True)
class Asked:
    """The parts of a question that are read."""

    kind: str = "packages"
    subject: str | None = None
    cases: tuple = ()
    workload: Workload = field(default_factory=lambda: WORKLOAD)


def test_optional_requirements_are_needed_too_and_those_of_sdperf_are_followed():
    names = {"sdperf", "torch", "sympy", "onnx", "protobuf", "opt-einsum"}
    assert find_needed("sdperf", INSTALLED.get) == names


def test_a_package_that_nothing_needs_is_named_before_anything_is_installed():
    (told,) = warn_unused(Asked(), ("torch==2.13.0 mflux==0.20.0",), INSTALLED.get)
    assert told.startswith("warning: mflux is required neither by embedded nor by sdperf")
    assert "--subject" in told


@pytest.mark.parametrize(
    ("asked", "step", "installed"),
    [
        (Asked(), "Opt_Einsum==3.3 sympy==1.13", INSTALLED),
        (Asked(subject="mine:make"), "mflux==0.20.0", INSTALLED),
        (Asked(kind="revisions"), "mflux==0.20.0", INSTALLED),
        (Asked(), "mflux==0.20.0", {}),
    ],
)
def test_nothing_is_said_of_what_is_needed_or_cannot_be_known(asked, step, installed):
    assert list(warn_unused(asked, (step,), installed.get)) == []


def test_requirements_are_those_of_what_is_installed():
    assert any(text.startswith("pluggy") for text in list_requirements("pytest"))
    assert list_requirements("no-such-distribution") is None
