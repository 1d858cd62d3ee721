"""The engine: converts parts or finds them converted, and keeps their sessions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sdperf.device import DeviceKind
from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.onnx.exporting import MODEL_NAME, OPSET, export_part
from sdperf.engines.onnx.quantising import quantise_part
from sdperf.engines.onnx.running import (
    CPU,
    CUDA,
    BoundSessionPart,
    SessionPart,
    open_session,
)
from sdperf.engines.protocol import EngineRequest, Part, PartName, PreparedPart
from sdperf.record.workload import Precision

_MULTIPLIES: Final = frozenset({"unet"})
"""The parts whose products an 8-bit setting computes in integers; of others it stores the weights
so, and loses next to nothing: they run once an image."""


class OnnxEngine:
    """ONNX Runtime.

    Args:
        choice: ``options`` may hold ``weights`` (``int8``) and ``provider``.

    Attributes:
        provider: The execution provider.
    """

    def __init__(self, choice: EngineChoice) -> None:
        self.provider: str = CPU
        self._choice = choice
        self._entries = contextlib.ExitStack()
        self._parts: dict[PartName, tuple[SessionPart | BoundSessionPart, Path]] = {}
        self._threads = 0

    def require(self, precision: Precision) -> None:
        """Accept every precision of the choice: the runtime computes in each on any machine."""

    def prepare(
        self, parts: Sequence[Part], request: EngineRequest, say: Callable[[str], None]
    ) -> Mapping[PartName, PreparedPart]:
        """Export every part that is not exported yet, and open a session for each.

        Raises:
            EngineError: The exporter or the runtime lacks an operator, the provider is missing, or
                the disk is full.
        """
        self.provider = choose_provider(request.device, self._choice)
        self._threads = request.threads
        return {part.name: self._prepare_part(part, request, say) for part in parts}

    def set_threads(self, threads: int) -> None:
        """Open the sessions again where their number of threads differs."""
        if threads == self._threads:
            return
        self._threads = threads
        for name, (run, path) in self._parts.items():
            run.session = open_session(path, name, self.provider, threads)

    def _prepare_part(
        self, part: Part, request: EngineRequest, say: Callable[[str], None]
    ) -> PreparedPart:
        plain = request.conversion(part, opset=OPSET)
        # The exporter holds weights twice before it writes them.
        weights_bytes = sum(one.nbytes for one in part.network.state_dict().values())
        entry = self._entries.enter_context(
            request.cache.opened(
                plain,
                lambda folder: export_part(part, folder / MODEL_NAME),
                needed_bytes=2 * weights_bytes,
            )
        )
        seconds, was_found = entry.manifest.conversion_s, entry.was_found
        if self._choice.options.get("weights") == "int8":
            source, products = entry.folder / MODEL_NAME, part.name in _MULTIPLIES
            entry = self._entries.enter_context(
                request.cache.opened(
                    request.conversion(part, opset=OPSET, weights="int8"),
                    lambda folder: quantise_part(source, folder / MODEL_NAME, products=products),
                    needed_bytes=weights_bytes,
                )
            )
            seconds += entry.manifest.conversion_s
            was_found = was_found and entry.was_found
        say(f"{self._choice.name}: loading the {part.name}")
        path = entry.folder / MODEL_NAME
        session = open_session(path, part.name, self.provider, self._threads)
        kind = BoundSessionPart if self.provider == CUDA else SessionPart
        run = kind(session, part)
        self._parts[part.name] = (run, path)
        return PreparedPart(run, entry.manifest.size_bytes, seconds, was_found)


def choose_provider(device: DeviceKind, choice: EngineChoice) -> str:
    """Return the execution provider for a device: that of the setting, CUDA's, or the CPU's."""
    if "provider" in choice.options:
        return choice.options["provider"]
    return CUDA if device == "cuda" else CPU
