import pytest

from sdperf.ab.turns.residency import fit_together
from sdperf.device import DeviceInfo
from sdperf.record.measurement import MemoryUsage
from tests.support.ab_fakes import GIB

CPU = DeviceInfo("cpu", "", (), None, None)
CUDA = DeviceInfo("cuda", "", (), None, 80 * GIB)
MPS = DeviceInfo("mps", "", (), None, 48 * GIB)


@pytest.mark.parametrize(
    ("peaks", "ram", "device", "fits"),
    [
        ([MemoryUsage(4 * GIB)] * 2, 16 * GIB, CPU, True),
        ([MemoryUsage(6 * GIB)] * 2, 16 * GIB, CPU, False),
        ([MemoryUsage(None)] * 2, 16 * GIB, CPU, True),
        ([MemoryUsage(60 * GIB)] * 2, None, CPU, True),
        ([MemoryUsage(GIB, 30 * GIB)] * 2, 64 * GIB, CUDA, True),
        ([MemoryUsage(GIB, 35 * GIB)] * 2, 64 * GIB, CUDA, False),
        ([MemoryUsage(GIB, GIB, False, GIB, 40 * GIB)] * 2, 64 * GIB, CUDA, False),
        ([MemoryUsage(2 * GIB, 10 * GIB)] * 2, 64 * GIB, MPS, True),
        ([MemoryUsage(2 * GIB, 10 * GIB)] * 2, 32 * GIB, MPS, False),
    ],
)
def test_what_fits_together(peaks, ram, device, fits):
    assert fit_together(peaks, ram_bytes=ram, device=device) is fits
