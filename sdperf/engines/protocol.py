"""The protocol of an engine: it takes a pipeline's networks and returns functions that run them.

Tokeniser, scheduler, noise and post-processing stay diffusers' own, so that seeds, images, stage
times and gates are comparable between engines. An engine never touches the pipeline: it gets parts
(`Part`) and returns one `RunPart` for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sdperf.device import DeviceKind
from sdperf.engines.cache import EngineCache
from sdperf.engines.catalogue import EngineChoice
from sdperf.engines.conversion import Conversion
from sdperf.models.loader import ResolvedModel
from sdperf.record.workload import Precision

if TYPE_CHECKING:
    import torch

PartName = Literal["text_encoder", "text_encoder_2", "unet", "vae_decoder"]


@dataclass(frozen=True)
class Part:
    """One network of a pipeline, separated from it: tensors in, tensors out.

    Attributes:
        name: Name of the part.
        module: Wraps the network so that it takes ``inputs`` positionally, in order, and returns a
            tuple of tensors named by ``outputs``. In evaluation mode; same dtype and device as the
            network. It is exported, and parity is compared with it.
        network: Diffusers' or transformers' own module, with ``config`` and ``state_dict``; for
            ``vae_decoder`` the whole `AutoencoderKL`.
        inputs: Example inputs by name, of `EXAMPLE_ROWS` rows (``timestep``: (1,) float32).
        outputs: Names of the outputs, in order.
        rows: Rows that one image takes in one call: 2 for a guided UNet, else 1.
        fixed: Inputs without a batch axis.
    """

    name: PartName
    module: torch.nn.Module
    network: Any
    inputs: Mapping[str, torch.Tensor]
    outputs: tuple[str, ...]
    rows: int = 1
    fixed: frozenset[str] = frozenset()


class RunPart(Protocol):
    """Runs one part on an engine."""

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Run it.

        Args:
            inputs: Tensors by the part's names; any number of rows, dtype and device as the
                example's.

        Returns:
            Its outputs in order, on the inputs' device, in the part's dtype; later calls do not
            change their memory.

        Raises:
            GenerationError: The engine failed.
        """


@dataclass(frozen=True)
class EngineRequest:
    """The facts that an engine gets beside the parts.

    Attributes:
        choice: The engine that the user named, with its options.
        model: The model's files and hash.
        family: ``sd`` or ``sdxl``.
        precision: Number format of the parts.
        device: Device of the pipeline's tensors.
        height: Height of an image, pixels.
        width: Width of an image, pixels.
        threads: CPU threads that the engine may use at first.
        cache: Cache of the conversions.
    """

    choice: EngineChoice
    model: ResolvedModel
    family: str
    precision: Precision
    device: DeviceKind
    height: int
    width: int
    threads: int
    cache: EngineCache

    def conversion(self, part: Part, **options: str | int | bool) -> Conversion:
        """Return the key of a part's conversion, by which `EngineCache.opened` finds or makes it.

        Args:
            part: The part.
            options: Settings that decide the result, besides model, precision, size and versions.
        """
        from sdperf.engines.versions import collect_versions

        return Conversion(
            engine=self.choice.module.rpartition(".")[2],
            part=part.name,
            model=self.model.name,
            model_hash=self.model.model_hash,
            precision=self.precision,
            height=self.height,
            width=self.width,
            versions=collect_versions(self.choice),
            options=options,
        )


@dataclass(frozen=True)
class PreparedPart:
    """One part, ready to run.

    Attributes:
        run: Runs it.
        model_bytes: Size of its weights and program in the engine's files; ``None``: unknown.
        conversion_s: Seconds that its conversion took when it was made; ``None``: it needs none.
        was_cached: Whether the conversion was found and not made now.
    """

    run: RunPart
    model_bytes: int | None = None
    conversion_s: float | None = None
    was_cached: bool = False


class Engine(Protocol):
    """One runtime. ``make_engine(choice)`` of its module returns it, in the worker."""

    provider: str
    """The engine's name for its device, such as ``CPUExecutionProvider``; set by `prepare`."""

    def require(self, precision: Precision) -> None:
        """Check that this machine can compute in a number format, before anything is loaded.

        Args:
            precision: One of the precisions of the engine's choice.

        Raises:
            EngineError: The machine lacks it.
        """

    def prepare(
        self, parts: Sequence[Part], request: EngineRequest, say: Callable[[str], None]
    ) -> Mapping[PartName, PreparedPart]:
        """Convert what is not converted yet, and load everything.

        Args:
            parts: The parts of the pipeline, all or some.
            request: Model, precision, size and the like.
            say: Shows a message about the current step, such as ``onnx: exporting the unet``.

        Returns:
            Every part by its name.

        Raises:
            EngineError: An operator or architecture that the engine lacks, a precision or device
                that it refuses, no disk space: one message.
        """

    def set_threads(self, threads: int) -> None:
        """Use this many CPU threads from now on, where the engine computes on the CPU."""
