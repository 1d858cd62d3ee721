"""A throw-away repository: a small package with a pipeline of its own, and sixteen commits.

One of them plants something. The dates and names are fixed, so that the hashes are the same
everywhere and a result names commits that anybody can make again.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

Planted = Literal["slow", "slower", "image"]
"""One more UNet call in ten, one in two, or another end of the noise schedule."""

SUBJECT: Final = "studio.pipelines:make_pipeline"
CULPRIT: Final = 11
"""Place of the planted commit among the sixteen, from one."""

BROKEN: Final = 8
"""Place of a commit that does not import, in the repositories with a slow one."""

_NAME, _EMAIL = "A. Painter", "painter@example.org"
_FIRST_DAY: Final = 1_780_000_000
_DAY_S: Final = 86_400

_PIPELINES: Final = '''\
"""The studio's pipeline."""

from studio import checks, settings


def make_pipeline(request):
    """Return the pipeline that the studio paints with."""
    pipeline = request.load()
    settings.apply(pipeline)
    checks.watch(pipeline)
    return pipeline
'''
_SETTINGS: Final = '''\
"""What the studio sets on every pipeline."""


def apply(pipeline):
    """Set what differs from the model's own settings: nothing so far."""
'''
_CHECKS: Final = '''\
"""What the studio checks while it paints."""


def watch(pipeline):
    """Watch a pipeline: nothing so far."""
'''
_SLOW_CHECKS: Final = '''\
"""What the studio checks while it paints."""

EVERY = 10


def watch(pipeline):
    """Look at every tenth step twice, to see that it is stable."""
    forward, calls = pipeline.unet.forward, 0

    def checked(*arguments, **named):
        nonlocal calls
        calls += 1
        if calls % EVERY == 0:
            forward(*arguments, **named)
        return forward(*arguments, **named)

    pipeline.unet.forward = checked
'''
_WRONG_SETTINGS: Final = '''\
"""What the studio sets on every pipeline."""


def apply(pipeline):
    """Set what differs from the model's own settings: how far the noise goes."""
    scheduler = pipeline.scheduler
    pipeline.scheduler = type(scheduler).from_config(scheduler.config, beta_end=0.012)
'''
_BROKEN_PROMPTS: Final = '''\
"""Prompts that the studio likes."""

from studio.moods import MOODS

PROMPTS = ("red apple", "a blue car")
'''
_USES_PROMPTS: Final = _PIPELINES.replace(
    "from studio import checks, settings", "from studio import checks, prompts, settings"
).replace(
    "    return pipeline\n",
    "    pipeline.studio_prompts = tuple(prompts.PROMPTS)\n    return pipeline\n",
)


@dataclass(frozen=True)
class PlannedCommit:
    """A commit to make.

    Attributes:
        subject: First line of its message.
        files: What it writes.
    """

    subject: str
    files: dict[str, str] = field(default_factory=dict)


def plan_commits(planted: Planted) -> list[PlannedCommit]:
    """Return the good commit and the sixteen after it."""
    prompts = '"""Prompts that the studio likes."""\n\nPROMPTS = ("red apple", "a blue car")\n'
    listed = (
        ("Say what the studio is", "README.md", "# Studio\n\nPaints.\n"),
        ("Collect prompts that work", "studio/prompts.py", prompts),
        ("Ignore caches", ".gitignore", "__pycache__/\n"),
        ("Remember the prompts on the pipeline", "studio/pipelines.py", _USES_PROMPTS),
        ("Name the palette", "studio/palette.py", 'PALETTE = ("red", "blue")\n'),
        ("Add a licence", "LICENSE", "Public domain.\n"),
        ("Note how to paint", "README.md", "# Studio\n\nPaints. Ask for apples.\n"),
        ("Like penguins too", "studio/prompts.py", prompts.replace(")", ', "penguin")')),
        ("Widen the palette", "studio/palette.py", 'PALETTE = ("red", "blue", "ink")\n'),
        ("Describe the palette", "studio/palette.py", '"""Inks."""\n\nPALETTE = ("red",)\n'),
        ("Keep a list of houses", "studio/houses.py", 'HOUSES = ("house",)\n'),
        ("Thank the model", "README.md", "# Studio\n\nPaints. Thanks to the model.\n"),
        ("Sort the houses", "studio/houses.py", 'HOUSES = tuple(sorted(("house",)))\n'),
        ("Add a version", "studio/__init__.py", '__version__ = "0.2"\n'),
        ("Raise the version", "studio/__init__.py", '__version__ = "0.3"\n'),
    )
    harmless = [PlannedCommit(subject, {path: text}) for subject, path, text in listed]
    slower = _SLOW_CHECKS.replace("EVERY = 10", "EVERY = 2").replace("tenth", "second")
    culprit = {
        "slow": PlannedCommit("Look at every tenth step twice", {"studio/checks.py": _SLOW_CHECKS}),
        "slower": PlannedCommit("Look at every second step twice", {"studio/checks.py": slower}),
        "image": PlannedCommit(
            "Let the noise end earlier", {"studio/settings.py": _WRONG_SETTINGS}
        ),
    }[planted]
    after = [*harmless[: CULPRIT - 1], culprit, *harmless[CULPRIT - 1 :]]
    if planted != "image":
        broken = PlannedCommit("Paint in moods", {"studio/prompts.py": _BROKEN_PROMPTS})
        mended = after[BROKEN].files | {"studio/prompts.py": prompts}
        after[BROKEN - 1] = broken
        after[BROKEN] = PlannedCommit("Paint without moods again", mended)
    first = {
        "studio/__init__.py": '__version__ = "0.1"\n',
        "studio/pipelines.py": _PIPELINES,
        "studio/settings.py": _SETTINGS,
        "studio/checks.py": _CHECKS,
    }
    return [PlannedCommit("Open the studio", first), *after]


def make_repository(folder: Path, planted: Planted) -> list[str]:
    """Make the repository.

    Args:
        folder: An empty or missing folder.
        planted: What one commit plants.

    Returns:
        Hashes of the good commit and of the sixteen after it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _git(folder, 0, "init", "--quiet", "--initial-branch=main")
    hashes = []
    for day, commit in enumerate(plan_commits(planted)):
        for name, text in commit.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        _git(folder, day, "add", ".")
        _git(folder, day, "commit", "--quiet", "--no-gpg-sign", "-m", commit.subject)
        hashes.append(_git(folder, day, "rev-parse", "HEAD").strip())
    return hashes


def _git(folder: Path, day: int, *arguments: str) -> str:
    date = f"{_FIRST_DAY + day * _DAY_S} +0000"
    identity = {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", _NAME), ("EMAIL", _EMAIL), ("DATE", date))
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | identity | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
    )
    return done.stdout
