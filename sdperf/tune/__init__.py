"""The best settings for a machine: an Optuna study, and a paired confirmation of what it finds.

Importing this package loads neither Optuna nor torch.
"""

from typing import Final

DEFAULT_FILE: Final = ".sdperf/tune.db"
"""The default file of studies, below the current folder."""
