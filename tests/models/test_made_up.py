import pytest

from sdperf.models.made_up import describe_made_up

OLD = (
    "Some weights of CLIPTextModel were not initialized from the model checkpoint at /x and are "
    "newly initialized: ['text_model.a.weight', 'text_model.b.weight']\nYou should probably TRAIN"
)
NEW = (
    "CLIPTextModel LOAD REPORT from: /x\nKey | Status |\n---+---+-\n"
    "nix.{0, 1}.bias | UNEXPECTED |\n"
    "\x1b[31mencoder.{0, 1}.bias\x1b[0m | \x1b[31mMISSING\x1b[0m |\n"
    "Notes:\n- MISSING: those params were newly initialized because missing from the checkpoint."
)


@pytest.mark.parametrize(
    ("message", "described"),
    [
        (OLD, "no values for text_model.a.weight, text_model.b.weight"),
        (NEW, "no values for encoder.{0, 1}.bias"),
        ("some weights were not used", None),
        ("all of it was newly initialized\n" + "x" * 900, None),
    ],
)
def test_both_ways_of_saying_it_are_read(message, described):
    found = describe_made_up(message)
    if described is None and "newly" in message:
        assert found is not None
        assert len(found) <= 303
    else:
        assert found == described


def test_a_long_list_is_cut():
    names = [f"'layer.{number}'" for number in range(52)]
    found = describe_made_up(f"weights are newly initialized: [{', '.join(names)}]")
    assert found == "no values for layer.0, layer.1, layer.2 and 49 more"
