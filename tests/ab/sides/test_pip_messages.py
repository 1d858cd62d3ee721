import pytest

from sdperf.ab.sides.pip_messages import explain_pip_failure, find_conflicts
from sdperf.errors import ConfigurationError, PackageError

NO_NETWORK = """\
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError': \
Failed to establish a new connection: [Errno -3] Temporary failure in name resolution: /simple/t/
ERROR: Could not find a version that satisfies the requirement torch==2.12.0 (from versions: none)
ERROR: No matching distribution found for torch==2.12.0
"""
NO_VERSION = """\
ERROR: Could not find a version that satisfies the requirement torch==9.9 \
(from versions: 2.8.0, 2.9.0, 2.10.0, 2.11.0, 2.12.0, 2.13.0, 2.14.0)
ERROR: No matching distribution found for torch==9.9
"""
FULL = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
CONFLICT = """\
ERROR: Cannot install diffusers==0.42.1 and torch==1.0 because these have conflicting dependencies.
The conflict is caused by:
    The user requested torch==1.0
    accelerate 1.15.0 depends on torch>=2.0.0
ERROR: ResolutionImpossible: for help visit the documentation
"""
BROKEN_BUILD = """\
  error: subprocess-exited-with-error
  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Failed building wheel for sentencepiece
"""
NO_PIP = "/usr/bin/python: No module named pip\n"


@pytest.mark.parametrize(
    ("output", "kind", "words"),
    [
        (NO_NETWORK, ConfigurationError, "cannot be downloaded"),
        (NO_VERSION, PackageError, "there is no torch==9.9"),
        (FULL, ConfigurationError, "no room"),
        (CONFLICT, PackageError, "accelerate 1.15.0 depends on torch>=2.0.0"),
        (BROKEN_BUILD, PackageError, "Failed building wheel for sentencepiece"),
        (NO_PIP, ConfigurationError, "has no pip"),
        ("", PackageError, "cannot be installed"),
    ],
    ids=["network", "version", "disk", "conflict", "build", "pip", "silence"],
)
def test_each_failure_has_its_own_message(output, kind, words):
    error = explain_pip_failure(output, ["torch==2.12.0"], "the.log")
    assert type(error) is kind
    assert words in str(error)
    assert "\n" not in str(error)
    assert error.hint


def test_the_newest_versions_on_offer_are_shown():
    error = explain_pip_failure(NO_VERSION, ["torch==9.9"], "the.log")
    assert error.got.endswith("2.9.0, 2.10.0, 2.11.0, 2.12.0, 2.13.0, 2.14.0")
    assert "2.8.0" not in error.got


def test_one_dead_mirror_does_not_hide_that_there_is_no_such_version():
    error = explain_pip_failure(NO_NETWORK.split("ERROR")[0] + NO_VERSION, ["torch==9.9"], "log")
    assert isinstance(error, PackageError)


def test_what_no_longer_fits_is_noted():
    output = (
        "ERROR: pip's dependency resolver does not currently take into account all the packages "
        "that are installed.\n"
        "torchvision 0.28.0 requires torch==2.13.0, but you have torch 2.12.0 which is "
        "incompatible.\nSuccessfully installed torch-2.12.0\n"
    )
    assert find_conflicts(output) == (
        "torchvision 0.28.0 requires torch==2.13.0, but you have torch 2.12.0",
    )
    assert find_conflicts("Successfully installed torch-2.12.0\n") == ()
