"""The profile file: what is written can be read, and a hostile one is refused in one message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdperf.errors import ConfigurationError, SdperfError
from sdperf.store.profile import Profile, format_profile, parse_profile, read_profile

TUNED = Profile(
    "embedded",
    9,
    2.5,
    scheduler="UniPCMultistepScheduler",
    precision="bf16",
    mode="async",
    workers=2,
    optimisations=("device_loop", "batch4"),
    evidence={"study": "tune", "faster": 2.5, "blocks": 4, "is_confirmed": True},
)
LINES = format_profile(TUNED)


def test_what_is_written_is_read_back():
    assert parse_profile(LINES) == TUNED


def test_an_engine_is_written_where_it_is_not_torch():
    """An sdperf that knows no engines in profiles reads those of torch as before."""
    assert "engine" not in LINES
    hosted = Profile("embedded", 9, 2.5, optimisations=("batch4",), engine="openvino")
    assert 'engine = "openvino"' in format_profile(hosted)
    assert parse_profile(format_profile(hosted)) == hosted
    assert hosted.as_texts()["engine"] == "openvino"


names = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
scalars = st.one_of(names, st.integers(-(2**60), 2**60), st.booleans(), st.floats(allow_nan=False))


@given(
    st.dictionaries(names, scalars, max_size=4),
    st.integers(1, 10_000),
    st.floats(0, 1000),
    st.text("abc/.-_ äß\"'\\", min_size=1).filter(str.strip),
)
def test_any_profile_is_read_back(evidence, steps, guidance, model):
    profile = Profile(model, steps, guidance, width=512, height=64, evidence=evidence)
    assert parse_profile(format_profile(profile)) == profile


def test_texts_are_those_of_the_options():
    assert TUNED.as_texts() == {
        "model": "embedded",
        "steps": "9",
        "guidance": "2.5",
        "scheduler": "UniPCMultistepScheduler",
        "precision": "bf16",
        "mode": "async",
        "workers": "2",
        "optimisations": "device_loop+batch4",
        "engine": "torch",
    }
    plain = Profile("embedded", 20, 3.0, width=512, height=768).as_texts()
    assert (plain["optimisations"], plain["scheduler"]) == ("none", "auto")
    assert (plain["guidance"], plain["size"]) == ("3", "512x768")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("format_version = 1", "format_version = 2", "another format"),
        ("format_version = 1", "format_version = true", "another format"),
        ("steps = 9", "steps = 0", "the setting steps"),
        ("steps = 9", "steps = true", "the setting steps"),
        ("steps = 9", "", "lacks a setting"),
        ("guidance = 2.5", "guidance = nan", "the setting guidance"),
        ("guidance = 2.5", "guidance = '2'", "the setting guidance"),
        ('"bf16"', '"fp8"', "the setting precision"),
        ('"bf16"', "[]", "the setting precision"),
        ('"async"', '"threads"', "the setting mode"),
        ("workers = 2", "workers = 5000", "the setting workers"),
        ("workers = 2", "workers = 2\nengine = 'tensorrt'", "the setting engine"),
        ("workers = 2", "workers = 2\nengine = 'external:rm=rm -r x'", "the setting engine"),
        ('"batch4"', '"batch5"', "the setting optimisations"),
        ('"batch4"', '"step_cache2", "step_cache3"', "the setting optimisations"),
        ('["device_loop", "batch4"]', '["default"]', "the setting optimisations"),
        ('"UniPCMultistepScheduler"', '"os; import sys"', "the setting scheduler"),
        ('model = "embedded"', 'model = "a\\nb"', "the setting model"),
        ('model = "embedded"', 'model = " "', "the setting model"),
        ("workers = 2", "workers = 2\nsubject = 'mine:evil'", "is unknown"),
        ("workers = 2", "workers = 2\nwidth = 64", "lacks a setting"),
        ("workers = 2", "workers = 2\nwidth = 65\nheight = 64", "the setting width"),
        ("blocks", "blocks = [1]\nmore", "evidence"),
        ("[settings]", "[other]", "has no settings"),
        ("[settings]", "[settings", "no TOML"),
    ],
)
def test_a_damaged_profile_is_refused(old, new, complaint):
    damaged = LINES.replace(old, new)
    if "blocks" in old:
        damaged = LINES.replace('"blocks" = 4', '"blocks" = [1]')
    assert damaged != LINES
    with pytest.raises(ConfigurationError, match=complaint):
        parse_profile(damaged)


def test_files_that_cannot_be_profiles(tmp_path):
    for name, content in (
        ("large", b"#" * (1 << 17)),
        ("binary", b"\xff\xfe"),
        ("nested", b"a = " + b"[" * 5000),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SdperfError):
            read_profile(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_profile(tmp_path / "missing")


def test_a_number_of_thousands_of_digits_is_no_traceback():
    with pytest.raises(ConfigurationError, match="is no TOML"):
        parse_profile(f"format_version = {'9' * 5000}\n")
