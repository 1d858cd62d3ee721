"""Makes the table of operators that `sdperf mps-check` judges against, from torch's macOS wheels.

    python -m tools.mps_tables 2.15.0                 # downloads that version's wheel and adds it
    python -m tools.mps_tables WHEELS/*.whl --anew    # makes the table of these wheels only

No wheel is installed and nothing of it is run but its own torchgen, which is Python. Kernels that
are registered in C++ only are read from the library itself, those that are registered in Python
from the sources.
"""
