"""OpenVINO, imported in the one way in which it tells nobody.

``import openvino`` reports itself over the network where openvino-telemetry is installed, which
pip installs with it: ``openvino/tools/ovc/__init__.py`` sends an event, for which a process is
forked, and a file with a number for this user is written to ``~/intel``. There is no setting
against it. Where that package cannot be imported OpenVINO takes a stand-in of its own, which does
nothing, and keeps it. So everything here takes `openvino` from this module.

Where other code of the process imported OpenVINO before, that has been sent already.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, Final

_TELEMETRY: Final = "openvino_telemetry"


@contextlib.contextmanager
def _without_telemetry() -> Iterator[None]:
    """Let the reporting package be missing, and be found again afterwards."""
    modules: dict[str, Any] = sys.modules
    hidden = {
        name: modules.pop(name) for name in list(modules) if name.partition(".")[0] == _TELEMETRY
    }
    modules[_TELEMETRY] = None  # an import of it raises ModuleNotFoundError
    try:
        yield
    finally:
        del modules[_TELEMETRY]
        modules.update(hidden)


with _without_telemetry():
    import openvino
    import openvino.opset15 as operators
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

__all__ = ["FrontEndManager", "TorchFXPythonDecoder", "openvino", "operators"]
