"""The first hour on a Mac: its table is the presets', and what it tells people to type exists."""

import re
from pathlib import Path

import pytest

from sdperf.cli import COMMANDS
from sdperf.workload import PRESETS, Preset

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "mac-quickstart.md").read_text(encoding="utf-8")


def columns(text):
    """Read the table of models as one dictionary a model."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    start = next(index for index, line in enumerate(lines) if "`--sd-model`" in line)
    rows = {}
    for line in lines[start:]:
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if len(cells) != 4 or cells[0] == "what":
            break
        rows[cells[0]] = cells[1:]
    return [{name: cells[index] for name, cells in rows.items()} for index in range(3)]


def find_faults(column, preset: Preset):
    weights = preset.weights
    expected = {
        "steps (preset)": str(preset.num_inference_steps),
        "guidance (preset)": f"{preset.guidance_scale:g}",
        "size": str(preset.size),
        "scheduler": f"the model's own: `{preset.scheduler}`"
        if preset.scheduler
        else "the model's own",
        "precision to begin with": preset.precision,
        "weights": f"{weights / 1e9:.2f} billion",
        "download (fp32 files, 4 bytes a weight)": f"{preset.weight_bytes('fp32') / 1e9:.3g} GB",
        "in memory, fp16": f"{preset.weight_bytes('fp16') / 1e9:.3g} GB",
    }
    return [name for name, value in expected.items() if column[name] != value]


@pytest.mark.parametrize("index", range(3))
def test_the_table_is_the_presets(index):
    column = columns(PAGE)[index]
    preset = PRESETS[column["`--sd-model`"].strip("`")]
    assert find_faults(column, preset) == []
    assert column["source of steps and guidance"].replace("'", "") in preset.source.replace(
        "'", ""
    ).replace("defaults of diffusers", "diffusers defaults")


def test_a_table_that_differs_is_seen():
    column = columns(PAGE)[0]
    assert find_faults(column | {"size": "768"}, PRESETS[column["`--sd-model`"].strip("`")])


def test_every_command_and_option_exists():
    options = (ROOT / "sdperf/plugin/options.py").read_text(encoding="utf-8")
    for name in set(re.findall(r"--sd-([a-z-]+)", PAGE)):
        assert f'"{name}"' in options, name
    for command in set(re.findall(r"`sdperf ([a-z-]+)|^sdperf ([a-z-]+)", PAGE, re.MULTILINE)):
        assert "".join(command) in COMMANDS
    for module in set(re.findall(r"python -m (tools\.\w+)", PAGE)):
        assert (ROOT / module.replace(".", "/")).is_dir()
    for link in re.findall(r"\]\(([\w/.-]+\.md)\)", PAGE):
        assert (ROOT / "docs" / link).is_file(), link
