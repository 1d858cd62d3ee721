"""Small disks of their own: full, or mounted so that nobody writes them, root neither."""

import contextlib
import ctypes
import os

import pytest

MS_RDONLY, MS_REMOUNT = 1, 32


@contextlib.contextmanager
def mounted(folder, size):
    """A small disk of its own, where this process may mount one; skips aloud otherwise."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size}".encode()
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options) != 0:
        pytest.skip(f"cannot mount a disk here: {os.strerror(ctypes.get_errno())}")
    try:
        yield lambda: libc.mount(
            b"tmpfs", os.fsencode(folder), b"tmpfs", MS_REMOUNT | MS_RDONLY, None
        )
    finally:
        libc.umount2(os.fsencode(folder), 2)
