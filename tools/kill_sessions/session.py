"""A pytest session in a process that has imported everything before: forked, it starts at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

PRELOADED = (torch, StableDiffusionPipeline)
"""What takes seconds to import: the server that sessions are forked from does it once."""


def run_session(folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run pytest in a folder, in silence; end with its status."""
    os.chdir(folder)
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.__stdout__.fileno() if sys.__stdout__ else 1)
    os.dup2(nowhere, 2)
    torch.set_num_threads(1)
    os._exit(int(pytest.main(list(arguments))))
