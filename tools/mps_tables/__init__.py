"""Makes the table of operators that `sdperf mps-check` judges against, from torch's macOS wheels.

    pip download torch==2.14.1 --no-deps --only-binary=:all: --platform macosx_14_0_arm64 -d WHEELS
    python -m tools.mps_tables WHEELS/*.whl

No wheel is installed and nothing of it is run but its own torchgen, which is Python. Kernels that
are registered in C++ only are read from the library itself.
"""
