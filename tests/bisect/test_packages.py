import pytest
from packaging.requirements import Requirement

from sdperf.bisect.packages import label_step, name_step, parse_package_steps
from sdperf.errors import ConfigurationError


def test_steps_are_read_in_order_and_spelled_alike():
    steps = parse_package_steps(["torch==2.12.0", " Torch==2.13.0+cpu", "torch==2.14.1"])
    assert steps == (("torch==2.12.0",), ("torch==2.13.0+cpu",), ("torch==2.14.1",))


def test_several_packages_may_move_together():
    steps = parse_package_steps(
        ["torch==2.13.0 diffusers==0.42.1", "diffusers==0.43.0  Torch==2.14.1"]
    )
    assert steps == (
        ("diffusers==0.42.1", "torch==2.13.0"),
        ("diffusers==0.43.0", "torch==2.14.1"),
    )
    assert name_step(steps[0]) == "diffusers==0.42.1 torch==2.13.0"
    assert label_step(name_step(steps[0])) == "diffusers 0.42.1, torch 2.13.0"


def test_a_source_by_address_is_as_good_as_a_version():
    address = "diffusers@git+https://example.org/diffusers@0123abc"
    (_, (kept,)) = parse_package_steps(["diffusers==0.42.1", address])
    assert Requirement(kept).url == "git+https://example.org/diffusers@0123abc"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "list of one version"),
        (["torch==2.13.0"], "list of one version"),
        (["torch==2.13.0", "torch"], "no exact version"),
        (["torch==2.13.0", "torch>=2.14"], "no exact version"),
        (["torch==2.13.0", "torch==2.*"], "no exact version"),
        (["torch==2.13.0", "torch==2.14.0,!=2.14.1"], "no exact version"),
        (["torch==2.13.0", "--index-url"], "--index-url"),
        (["torch==2.13.0", "torch=2.14.0"], "torch=2.14.0"),
        (["torch==2.13.0", "../torch"], "../torch"),
        (["torch==2.13.0", "  "], "nothing"),
        (["torch==2.13.0", "torch==2.14.0 torch==2.15.0"], "a package comes twice"),
        (["torch==2.13.0", "torch==2.14.0", "Torch==2.13.0"], "a step comes twice"),
        (["torch==2.13.0", "torch==2.14.0 diffusers==0.42.1"], "the same packages"),
        (["torch==2.13.0", "diffusers==0.42.1"], "the same packages"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(texts, words):
    with pytest.raises(ConfigurationError) as error:
        parse_package_steps(texts)
    assert words in str(error.value)
