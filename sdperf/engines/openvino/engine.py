"""The engine: converts parts or finds them converted, and keeps their programs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

import torch

from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.openvino.converting import MODEL_NAME, convert_part
from sdperf.engines.openvino.importing import openvino
from sdperf.engines.openvino.running import (
    DEVICE,
    ProgramPart,
    name_precision,
    require_arithmetic,
)
from sdperf.engines.protocol import EngineRequest, Part, PartName, PreparedPart
from sdperf.record.workload import Precision


class OpenVinoEngine:
    """OpenVINO on the CPU.

    Attributes:
        provider: The plugin that computes.
    """

    def __init__(self, choice: EngineChoice) -> None:
        self.provider: str = DEVICE
        self._choice = choice
        self._core = openvino.Core()
        self._entries = contextlib.ExitStack()
        self._parts: dict[PartName, ProgramPart] = {}
        self._threads = 0

    def require(self, precision: Precision) -> None:
        """Check that the processor has instructions for a number format.

        Raises:
            EngineError: It lacks them; the plugin would compute in float32 and not say so.
        """
        require_arithmetic(self._core, precision)

    def prepare(
        self, parts: Sequence[Part], request: EngineRequest, say: Callable[[str], None]
    ) -> Mapping[PartName, PreparedPart]:
        """Convert what is not converted yet, and compile each part for one image.

        Raises:
            EngineError: A number format that the processor lacks, which may be another one than was
                asked for, an operator that the converter or the runtime lacks, no disk space.
        """
        for dtype in {part.network.dtype for part in parts}:
            require_arithmetic(self._core, name_precision(dtype))
        self._threads = request.threads
        return {part.name: self._prepare_part(part, request, say) for part in parts}

    def set_threads(self, threads: int) -> None:
        """Compile the programs again where they have another number of threads."""
        if threads == self._threads:
            return
        self._threads = threads
        for run in self._parts.values():
            run.set_threads(threads)

    def _prepare_part(
        self, part: Part, request: EngineRequest, say: Callable[[str], None]
    ) -> PreparedPart:
        half = part.network.dtype == torch.float16
        # In 16 bit a copy in float32 is converted, and the file is written beside it.
        needed_bytes = 2 * sum(one.nbytes for one in part.network.state_dict().values())
        entry = self._entries.enter_context(
            request.cache.opened(
                request.conversion(part),
                lambda folder: convert_part(part, folder / MODEL_NAME, half=half),
                needed_bytes=needed_bytes,
            )
        )
        say(f"{self._choice.name}: loading the {part.name}")
        run = ProgramPart(self._core, entry.folder / MODEL_NAME, part, self._threads)
        self._parts[part.name] = run
        manifest = entry.manifest
        return PreparedPart(run, manifest.size_bytes, manifest.conversion_s, entry.was_found)
