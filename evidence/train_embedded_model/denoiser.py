"""The text encoder and the UNet, trained together to predict velocity."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from .sampler import PictureSampler
from .tokenizer import MAX_LENGTH
from .training import Report, Settings, train

TEXT_WIDTH = 128
CAPTION_DROPOUT = 0.1


class Denoiser(nn.Module):
    """Text encoder and UNet as one module, so that they compile together."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(vocabulary_size)
        self.unet = build_unet()

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """Predicts the velocity, (B, 4, 16, 16).

        Args:
            latents: (B, 4, 16, 16) float.
            timesteps: (B,) int64.
            tokens: (B, 32) int64.
        """
        states = self.text_encoder(input_ids=tokens).last_hidden_state
        output: Tensor = self.unet(
            latents, timesteps, encoder_hidden_states=states, return_dict=False
        )[0]
        return output


def build_text_encoder(vocabulary_size: int) -> CLIPTextModel:
    """The untrained text encoder (0.76 million parameters)."""
    config = CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=TEXT_WIDTH,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_LENGTH,
        hidden_act="quick_gelu",
        projection_dim=TEXT_WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return CLIPTextModel(config)


def build_unet() -> UNet2DConditionModel:
    """The untrained UNet (4.3 million parameters)."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(64, 128),
        down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=(2, 4),
        norm_num_groups=16,
        use_linear_projection=True,
    )


def build_scheduler() -> DPMSolverMultistepScheduler:
    """The shipped scheduler.

    The extra keys serve the schedulers that users swap in; DDIM would clip latents.
    """
    scheduler = DPMSolverMultistepScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.02,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        algorithm_type="dpmsolver++",
        solver_order=2,
        timestep_spacing="trailing",
    )
    scheduler.register_to_config(
        clip_sample=False, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1
    )
    return scheduler


def train_denoiser(
    sampler: PictureSampler,
    latents: Tensor,
    caption_rows: Tensor,
    tokens: Tensor,
    vocabulary_size: int,
    settings: Settings,
    use_compile: bool,
    log: Callable[[str], None],
    logit_share: float = 0.5,
    save_at: float | None = None,
    save: Callable[[Denoiser], None] | None = None,
) -> tuple[Denoiser, Report]:
    """Trains from scratch.

    Args:
        sampler: Chooses the pictures of each batch.
        latents: (S, 4, 16, 16) float16, zero mean and unit variance.
        caption_rows: (S, 2) int64, rows of ``tokens``.
        tokens: (C, 32) int64.
        vocabulary_size: Of the tokenizer.
        settings: Budget and rates.
        use_compile: Compile the module.
        log: Takes one line.
        logit_share: Share of timesteps drawn from a logit-normal around the middle; the rest is
            uniform.
        save_at: Progress in (0, 1) at which ``save`` is called with the averaged weights so far.
        save: See ``save_at``.

    Returns:
        A plain float32 module with the averaged weights, and the report.
    """
    device = latents.device
    on_cuda = device.type == "cuda"
    layout = torch.channels_last if on_cuda else torch.contiguous_format
    model: Any = Denoiser(vocabulary_size).to(device, memory_format=layout).train()
    if use_compile:
        model.compile()
    alphas = build_scheduler().alphas_cumprod.to(device)
    signal, spread = alphas.sqrt(), (1 - alphas).sqrt()
    empty = torch.ones((1, MAX_LENGTH), dtype=torch.long, device=device)
    empty[0, 0] = 0
    count, generator = settings.batch_size, sampler.generator
    clean = torch.zeros((count, *latents.shape[1:]), device=device)
    noise = torch.zeros_like(clean)
    timesteps = torch.zeros(count, dtype=torch.long, device=device)
    words = empty.repeat(count, 1)

    def fill(progress: float) -> None:
        rows = sampler.draw(count, progress)
        clean.copy_(latents[rows])
        noise.normal_(generator=generator)
        uniform = torch.rand((4, count), device=device, generator=generator)
        normal = torch.randn(count, device=device, generator=generator)
        moment = torch.where(uniform[0] < logit_share, torch.sigmoid(normal - 0.4), uniform[1])
        timesteps.copy_((moment * 1000).long().clamp(0, 999))
        chosen = caption_rows[
            rows, (uniform[2] * caption_rows.shape[1]).long().clamp_max(caption_rows.shape[1] - 1)
        ]
        words.copy_(torch.where((uniform[3] < CAPTION_DROPOUT)[:, None], empty, tokens[chosen]))

    def compute_loss() -> Tensor:
        a, s = signal[timesteps][:, None, None, None], spread[timesteps][:, None, None, None]
        noisy = (a * clean + s * noise).contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=on_cuda, cache_enabled=False):
            output = model(noisy, timesteps, words)
        return F.mse_loss(output.float(), a * noise - s * clean)

    def copy_out(values: list[Tensor]) -> Denoiser:
        plain = Denoiser(vocabulary_size).to(device)
        with torch.no_grad():
            for target, value in zip(plain.parameters(), values, strict=True):
                target.copy_(value)
        return plain.eval().requires_grad_(False)

    milestones = []
    if save_at is not None and save is not None:
        milestones.append((save_at, lambda values: save(copy_out(values))))
    average, report = train(
        "unet", list(model.parameters()), fill, compute_loss, settings, log, milestones
    )
    return copy_out(average), report
