"""Classes of diffusers that its lowest version in pyproject.toml does not have."""

import diffusers
import pytest

NEWER = {"Ideogram4Pipeline", "Krea2Pipeline", "QwenImage21Pipeline"}


def skip_where_diffusers_is_older(name):
    if name in NEWER and name not in dir(diffusers):
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
