"""The first hour on a Mac: its tables are the presets' and their arithmetic, its commands exist.

How many images its command makes is counted in `tests/plugin/test_quickstart_command.py`.
"""

import re
from pathlib import Path

import pytest
from diffusers import PNDMScheduler

from sdperf.cli import COMMANDS
from sdperf.models.presets import PRESETS, Preset
from sdperf.settings import OPTIONS, SWITCHES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mac-quickstart.md").read_text(encoding="utf-8")
MODELS = {
    "SD 1.5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "SDXL base": "stabilityai/stable-diffusion-xl-base-1.0",
    "SD-Turbo": "stabilityai/sd-turbo",
}
IMAGES = 17
FP32_IN_IMAGES = (1, 3)
LIMIT_S = 600


def read_rows(text, mark):
    """Read the table whose first line holds a mark: a list of cells a row, the head first."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if mark in line)
    while lines[start - 1].startswith("| "):
        start -= 1
    rows = []
    for line in lines[start:]:
        if not line.startswith("| "):
            break
        if not line.startswith("| ---"):
            rows.append([cell.strip() for cell in line[1:-1].split("|")])
    return rows


def columns(text):
    """Read the table of models as one dictionary a model."""
    _, *rows = read_rows(text, "`--sd-model`")
    return [{name: cells[index] for name, *cells in rows} for index in range(3)]


def find_faults(column, preset: Preset):
    weights = preset.weights
    download_s = preset.weight_bytes("fp32") * 8 / 100e6
    expected = {
        "steps (preset)": str(preset.num_inference_steps),
        "guidance (preset)": f"{preset.guidance_scale:g}",
        "size": str(preset.size),
        "scheduler": f"the model's own: `{preset.scheduler}`",
        "precision to begin with": preset.precision,
        "weights": f"{weights / 1e9:.2f} billion",
        "download (fp32 files, 4 bytes a weight)": f"{preset.weight_bytes('fp32') / 1e9:.3g} GB",
        "at 100 Mbit/s": f"{download_s / 60:.0f} min",
        "in memory, fp16": f"{preset.weight_bytes('fp16') / 1e9:.3g} GB",
        "source of the size": preset.size_source,
        "source of the scheduler": preset.scheduler_source,
        "source of the precision": preset.precision_source,
    }
    return [name for name, value in expected.items() if column[name] != value or not value]


@pytest.mark.parametrize("index", range(3))
def test_the_table_is_the_presets(index):
    column = columns(PAGE)[index]
    preset = PRESETS[column["`--sd-model`"].strip("`")]
    assert find_faults(column, preset) == []
    assert column["source of steps and guidance"].replace("'", "") in preset.source.replace(
        "'", ""
    ).replace("defaults of diffusers", "diffusers defaults")


@pytest.mark.parametrize(
    "change",
    [
        {"size": "768"},
        {"scheduler": "the model's own"},
        {"source of the scheduler": "model card"},
        {"at 100 Mbit/s": "1 min"},
    ],
)
def test_a_table_that_differs_is_seen(change):
    column = columns(PAGE)[0]
    assert find_faults(column | change, PRESETS[MODELS["SD 1.5"]]) == list(change)


def count_passes(preset):
    """Count the passes through the UNet that a preset's steps are: Euler's make one each."""
    if preset.scheduler != "PNDMScheduler":
        return preset.num_inference_steps
    scheduler = PNDMScheduler(skip_prk_steps=True)
    scheduler.set_timesteps(preset.num_inference_steps)
    return len(scheduler.timesteps)


def find_estimate_faults(row):
    """Compute a row of the table of times anew; return the cells that differ."""
    model, _, _, a_pass, rest, image, images, everything = row
    if a_pass:
        image_s = float(a_pass) * count_passes(PRESETS[MODELS[model]]) + float(rest or 0)
        shown = f"{image_s:.0f}" if image_s >= 10 else f"{image_s:.1f}"
    else:
        shown = image
        image_s = float(image.removeprefix("at most "))
    fp32_s = [min(LIMIT_S, factor * image_s) for factor in FP32_IN_IMAGES]
    minutes = [format_minutes(IMAGES * image_s + extra_s) for extra_s in fp32_s]
    whole = " to ".join(dict.fromkeys(minutes))
    if everything.startswith("at most"):  # it swaps, and the limit ends it
        whole = f"at most {format_minutes(IMAGES * image_s + LIMIT_S)} (b)"
    expected = {image: shown, images: format_minutes(IMAGES * image_s), everything: whole}
    return [found for found, right in expected.items() if found != right]


def format_minutes(seconds):
    return f"{seconds / 60:.0f}" if seconds >= 60 else "under 1"


ESTIMATES = read_rows(PAGE, "| a pass, s |")[1:]


@pytest.mark.parametrize("row", ESTIMATES, ids=lambda row: f"{row[0]}, {row[1]}")
def test_the_times_are_the_arithmetic_of_what_was_published(row):
    assert find_estimate_faults(row) == []
    assert re.search(r"\([a-g]\)$", row[2]), "no source"


def test_every_model_has_a_time_and_every_source_is_named():
    assert {row[0] for row in ESTIMATES} == set(MODELS)
    for letter in {letter for row in ESTIMATES for letter in re.findall(r"\((\w)\)", str(row))}:
        assert re.search(rf"^- \({letter}\)|\. \({letter}\)", PAGE, re.MULTILINE), letter


def test_a_time_that_is_no_arithmetic_is_seen():
    row = ["SD 1.5", "M1", "(a)", "1", "", "51", "14", "15 to 17"]
    assert find_estimate_faults(row) == []
    assert find_estimate_faults([*row[:5], "50", *row[6:]]) == ["50"]
    assert find_estimate_faults([*row[:7], "20"]) == ["20"]


def test_every_command_and_option_exists():
    options = {option.key for option in (*OPTIONS, *SWITCHES)}
    assert set(re.findall(r"--sd-([a-z-]+)", PAGE)) <= options
    for command in set(re.findall(r"`sdperf ([a-z-]+)|^sdperf ([a-z-]+)", PAGE, re.MULTILINE)):
        assert "".join(command) in COMMANDS
    for module in set(re.findall(r"python -m (tools\.\w+)", PAGE)):
        assert (ROOT / module.replace(".", "/")).is_dir()
    for link in re.findall(r"\]\(([\w/.-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
