"""Warnings of diffusers that say nothing about the pipeline under test."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def known_warnings_ignored() -> Iterator[None]:
    """Ignore that diffusers' schedulers turn tensors into arrays as before NumPy 2.

    Where warnings are errors it would stop a generation, and a user can do nothing about it.
    The filters are the process's own: no other thread may change them meanwhile.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "__array__ implementation", DeprecationWarning, r"diffusers\.schedulers"
        )
        yield
