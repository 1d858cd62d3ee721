"""How many images the command of the first hour on a Mac makes: what its page multiplies by."""

import re
from collections import Counter
from pathlib import Path

from diffusers import UNet2DConditionModel

import sdperf.run.case
from sdperf.record.measurement import FreshRounds
from tests.test_quickstart import IMAGES, PAGE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STEPS = 2


def test_the_command_makes_as_many_images_as_the_page_says(bench, pytester, monkeypatch):
    command = re.search(r"caffeinate -dims pytest (benchmarks/test_.+?)```", PAGE, re.DOTALL)[1]
    files = re.findall(r"benchmarks/(test_\w+)\.py", command)
    pytester.makepyfile(**{name: (BENCHMARKS / f"{name}.py").read_text() for name in files})
    options = dict(re.findall(r"--sd-(mode|workers|rounds) (\S+)", command))
    monkeypatch.setattr(sdperf.run.case, "SHORTEST_WATCH_S", 0.0)  # as where an image takes seconds
    # On a busy machine a round of fresh requests looks slow: more are drawn, and memory suspected.
    for looks in ("is_doubtful", "is_remembered"):
        monkeypatch.setattr(FreshRounds, looks, lambda *_: False)
    passes = Counter()
    forward = UNet2DConditionModel.forward

    def counted(self, *arguments, **named):
        passes[str(self.dtype)] += 1
        return forward(self, *arguments, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", counted)
    unset = {"batch-rounds": None, "images": None}
    done = bench(
        *(f"{name}.py" for name in files),
        **(unset | options | {"precision": "bf16", "steps": STEPS}),
    )
    done.assert_outcomes(passed=5)
    assert passes == {"torch.bfloat16": IMAGES * STEPS, "torch.float32": STEPS}
    assert f"**{IMAGES} images** in fp16 and 1 in fp32" in PAGE
