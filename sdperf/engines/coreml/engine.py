"""The engine: converts parts or finds them converted, and loads their programs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.coreml.converting import TARGET, convert_part
from sdperf.engines.coreml.running import CoreMlPart, CoreMLSystem, MacSystem
from sdperf.engines.coreml.settings import read_settings
from sdperf.engines.protocol import EngineRequest, Part, PartName, PreparedPart
from sdperf.errors import EngineError
from sdperf.record.workload import Precision
from sdperf.settings import ENGINE

COMPILED_NAME: Final = "model.mlmodelc"


class CoreMlEngine:
    """Core ML.

    Attributes:
        provider: The processors that it may use, such as ``Core ML cpu_and_ne``.
    """

    def __init__(self, choice: EngineChoice, system: CoreMLSystem | None = None) -> None:
        """Make it.

        Args:
            choice: Its options are `CoreMlSettings`.
            system: Compiles and loads; ``None`` is this machine, if it is a Mac.

        Raises:
            EngineError: An option has a value that does not exist.
        """
        self._settings = read_settings(choice)
        self._system = system
        self._entries = contextlib.ExitStack()
        self.provider = f"Core ML {self._settings.units}"

    def require(self, precision: Precision) -> None:
        """Accept every precision of the choice: the runtime computes in each on any machine."""

    def prepare(
        self, parts: Sequence[Part], request: EngineRequest, say: Callable[[str], None]
    ) -> Mapping[PartName, PreparedPart]:
        """Convert and compile every missing program, and load all programs.

        Raises:
            EngineError: This is not a Mac; Core ML lacks an operator; the disk is full.
        """
        system = self._system or _find_system()
        return {part.name: self._prepare_part(part, request, system, say) for part in parts}

    def set_threads(self, threads: int) -> None:
        """Do nothing: Core ML divides its work itself."""
        del threads

    def _prepare_part(
        self, part: Part, request: EngineRequest, system: CoreMLSystem, say: Callable[[str], None]
    ) -> PreparedPart:
        half = request.precision == "fp16" and not _is_upcast(part, request.family)

        def convert(folder: Path) -> None:
            package = convert_part(part, self._settings, half=half, folder=folder)
            say(f"{request.choice.name}: compiling the {part.name}")
            system.compile(package, folder / COMPILED_NAME)

        conversion = request.conversion(
            part,
            attention=self._settings.attention,
            bits=self._settings.bits or "none",
            rows=part.rows,
            target=TARGET,
        )
        # The package and what is compiled from it are both kept.
        needed_bytes = 2 * sum(weight.nbytes for weight in part.network.state_dict().values())
        entry = self._entries.enter_context(
            request.cache.opened(conversion, convert, needed_bytes=needed_bytes)
        )
        say(f"{request.choice.name}: loading the {part.name}")
        program = system.open(entry.folder / COMPILED_NAME, self._settings.units)
        sizes = [
            file.size_bytes
            for name, file in entry.manifest.files.items()
            if name.startswith(COMPILED_NAME)
        ]
        return PreparedPart(
            CoreMlPart(program, part),
            model_bytes=sum(sizes),
            conversion_s=entry.manifest.conversion_s,
            was_cached=entry.was_found,
        )


def _find_system() -> CoreMLSystem:
    if sys.platform != "darwin":
        raise EngineError(
            "Core ML runs on Apple's systems only",
            got=sys.platform,
            hint=f"{ENGINE} onnx, or run it on a Mac",
        )
    return MacSystem()


def _is_upcast(part: Part, family: str) -> bool:
    """Tell whether a part always computes in 32 bits: XL's VAE overflows in 16."""
    return part.name == "vae_decoder" and family == "sdxl" and part.network.config.force_upcast
