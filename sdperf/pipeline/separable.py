"""A pipeline whose call divides into stages: encoding, denoising, decoding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sdperf.errors import ConfigurationError
from sdperf.pipeline.stages import Noise, OnStep, Pixels, Stages, make_generator
from sdperf.record.workload import ImageRequest, Workload
from sdperf.settings import SIZE


@dataclass(frozen=True)
class PromptEmbeds:
    """The output of text encoding for denoising, which callers do not read.

    Attributes:
        arguments: Tensors by the name of the pipeline's argument; ``None`` where unused.
    """

    arguments: Mapping[str, torch.Tensor | None]


class SeparableStages(Stages, ABC):
    """A pipeline whose stages can be run one by one, with the bytes of `Stages.run_whole`.

    Attributes:
        height: Pixels.
        width: Pixels.
    """

    height: int
    width: int

    def __init__(self, pipeline: Any, workload: Workload) -> None:
        """Bind the two.

        Raises:
            ConfigurationError: The pipeline cannot generate what the workload asks for.
        """
        super().__init__(pipeline, workload)
        # Both walk through all modules of a pipeline: milliseconds, too many for every image.
        self._device: torch.device = pipeline._execution_device
        self._dtype: torch.dtype = self._denoiser().dtype
        height, width = self._own_size()
        self.height = workload.height or height
        self.width = workload.width or width
        multiple = self._size_multiple()
        fitting = [max(1, round(one / multiple)) * multiple for one in (self.width, self.height)]
        for name, size in (("height", self.height), ("width", self.width)):
            if size % multiple:
                raise ConfigurationError(
                    f"{type(pipeline).__name__} cannot generate this {name}",
                    got=size,
                    expected=f"a multiple of {multiple} pixels",
                    hint=f"{SIZE} {fitting[0]}x{fitting[1]}",
                )

    def draw_noise(self, requests: Sequence[ImageRequest]) -> Noise:
        """Draw the starting noise of a batch from each image's own seed.

        It is drawn in float32 on the CPU, one image at a time, and then cast and moved: equal
        for every device, precision, mode and place in a batch, apart from the rounding.
        """
        generators = [make_generator(request.seed) for request in requests]
        shape = (1, self._latent_channels(), *self._latent_size())
        latents = torch.cat(
            [
                torch.randn(shape, generator=generator, dtype=torch.float32)
                for generator in generators
            ]
        )
        placed = _move(latents.to(self._dtype), self._device)
        return Noise(self._pack(placed), tuple(generator.get_state() for generator in generators))

    @torch.no_grad()
    def encode_prompt(self, prompts: Sequence[str]) -> PromptEmbeds:
        """Turn prompts into embeddings: tokenising and all text encoders.

        Args:
            prompts: One prompt per image of the batch.
        """
        # The pipeline's own rule for guidance reads the scale of the running call.
        self.pipeline._guidance_scale = self.guidance_scale
        return PromptEmbeds(self._encode(list(prompts)))

    @torch.no_grad()
    def denoise(
        self, embeds: PromptEmbeds, noise: Noise, on_step: OnStep | None = None
    ) -> torch.Tensor:
        """Run all denoising steps, through the pipeline's own call.

        Args:
            embeds: The result of `encode_prompt`.
            noise: The result of `draw_noise`, for the same number of images.
            on_step: Called after each step.

        Returns:
            Latents of the noise's shape, float, on the device, which may still compute them.
        """
        output = self._call(
            **embeds.arguments, **self._sampling(noise, on_step), output_type="latent"
        )
        latents: torch.Tensor = output.images
        return latents

    def decode_latents(self, latents: torch.Tensor) -> Pixels:
        """Turn latents into pixels on the host; waits for the device.

        Args:
            latents: From `denoise`.
        """
        return self.start_decoding(latents)()

    @torch.no_grad()
    def start_decoding(self, latents: torch.Tensor) -> Callable[[], Pixels]:
        """Queue everything that turns latents into pixels; on CUDA without waiting for it.

        Args:
            latents: From `denoise`.

        Returns:
            A function that waits for the pixels and returns them, on any thread, without calling an
            operator of torch. A second thread that calls torch would open a second team of OpenMP
            threads, and the device thread's team would work at half its speed from then on
            (`docs/what-a-case-leaves-behind.md`). On other devices than CUDA the pixels are ready
            already, since only one thread may use an Apple GPU.
        """
        image = self.pipeline.image_processor.postprocess(self._decode(latents), output_type="pt")
        self.pipeline.maybe_free_model_hooks()
        wait: Callable[[], None] = _noop
        if image.device.type == "cuda":
            host = torch.empty(image.shape, dtype=image.dtype, pin_memory=True)
            image = host.copy_(image, non_blocking=True)
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
            wait = copied.synchronize
        else:
            image = image.cpu()
        widen = _view_as_numpy(image)

        def fetch() -> Pixels:
            wait()
            return widen().transpose(0, 2, 3, 1)

        return fetch

    @abstractmethod
    def _denoiser(self) -> Any:
        """Return the network that denoises."""

    @abstractmethod
    def _own_size(self) -> tuple[int, int]:
        """Return the pipeline's default height and width, pixels."""

    @abstractmethod
    def _encode(self, prompts: list[str]) -> dict[str, torch.Tensor | None]:
        """Run the text encoders in the way of the pipeline's call."""

    @abstractmethod
    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Undo the latents' scaling and run the VAE: (B, 3, H, W) float in [-1, 1]."""

    def _size_multiple(self) -> int:
        return int(self.pipeline.vae_scale_factor)

    def _latent_channels(self) -> int:
        return int(self._denoiser().config.in_channels)

    def _latent_size(self) -> tuple[int, int]:
        factor = self.pipeline.vae_scale_factor
        return self.height // factor, self.width // factor

    def _pack(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


def _noop() -> None:
    """Wait for nothing."""


def _view_as_numpy(image: torch.Tensor) -> Callable[[], npt.NDArray[np.float32]]:
    """Let numpy read a host tensor; the conversion waits until it is called, on any thread.

    Args:
        image: Float tensor of any shape on the host, which may still be filled.

    Returns:
        A function that converts the values to float32 exactly, by numpy and without torch.
    """
    if image.dtype == torch.bfloat16:
        # numpy has no bfloat16: it is the upper half of a float32.
        halves = image.view(torch.int16).numpy().view(np.uint16)
        return lambda: (halves.astype(np.uint32) << 16).view(np.float32)
    values = image.numpy()
    return lambda: values.astype(np.float32, copy=False)


def _move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Move a host tensor; to CUDA through pinned memory, without waiting for what is queued."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
