"""The autoencoder: 128x128 pictures to 16x16x4 latents and back."""

from collections.abc import Callable
from dataclasses import asdict

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from .sampler import PictureSampler
from .training import Report, Settings, train

LATENT_CHANNELS = 4


def build_autoencoder() -> AutoencoderKL:
    """The untrained model, in diffusers' own class (1.1 million parameters)."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 48, 64, 64),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=8,
        mid_block_add_attention=False,
        sample_size=128,
        scaling_factor=1.0,
    )


def compute_reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 + 4 MSE + 0.5 gradient L1 + 0.1 (1 - SSIM); both (B, 3, H, W) float in [-1, 1].

    The squared term serves PSNR, the gradient and SSIM terms keep outlines sharp.
    """
    difference = output - target
    gradient = _compute_steps(difference, 3) + _compute_steps(difference, 2)
    return (
        difference.abs().mean()
        + 4 * difference.square().mean()
        + 0.5 * gradient
        + 0.1 * (1 - compute_ssim(output, target))
    )


def compute_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM with a flat 7x7 window; (B, 3, H, W) float in [-1, 1].

    A loss term, not the reported figure.
    """
    mean_a, mean_b = F.avg_pool2d(a, 7, 1), F.avg_pool2d(b, 7, 1)
    var_a = F.avg_pool2d(a * a, 7, 1) - mean_a.square()
    var_b = F.avg_pool2d(b * b, 7, 1) - mean_b.square()
    covariance = F.avg_pool2d(a * b, 7, 1) - mean_a * mean_b
    c1, c2 = 0.02**2, 0.06**2
    score = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a.square() + mean_b.square() + c1) * (var_a + var_b + c2)
    )
    return score.mean()


def train_autoencoder(
    sampler: PictureSampler,
    pictures: Tensor,
    settings: Settings,
    use_compile: bool,
    log: Callable[[str], None],
    kl_weight: float = 1e-3,
) -> tuple[AutoencoderKL, Report]:
    """Trains from scratch.

    Args:
        sampler: Chooses the pictures of each batch.
        pictures: (S, 3, 128, 128) uint8 on the training device.
        settings: Budget and rates.
        use_compile: Compile encoder and decoder.
        log: Takes one line.
        kl_weight: Of the mean KL divergence a latent value.

    Returns:
        A plain float32 model with the averaged weights, and the report.
    """
    device = pictures.device
    on_cuda = device.type == "cuda"
    layout = torch.channels_last if on_cuda else torch.contiguous_format
    model = build_autoencoder().to(device, memory_format=layout)
    if use_compile:
        model.encoder.compile()
        model.decoder.compile()
    count = settings.batch_size
    batch = torch.empty((count, *pictures.shape[1:]), dtype=torch.uint8, device=device)
    noise = torch.empty((count, LATENT_CHANNELS, 16, 16), device=device)

    def fill(progress: float) -> None:
        rows = sampler.draw(count, progress)
        torch.index_select(pictures, 0, rows, out=batch)
        noise.normal_(generator=sampler.generator)

    def compute_loss() -> Tensor:
        target = (batch.float() / 127.5 - 1).contiguous(memory_format=layout)
        with torch.autocast(device.type, torch.bfloat16, enabled=on_cuda, cache_enabled=False):
            moments = model.quant_conv(model.encoder(target)).float()
            mean, log_variance = moments.chunk(2, 1)
            log_variance = log_variance.clamp(-20, 10)
            latents = mean + (0.5 * log_variance).exp() * noise
            output = model.decoder(model.post_quant_conv(latents)).float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        return compute_reconstruction_loss(output, target) + kl_weight * divergence

    parameters = list(model.parameters())
    average, report = train("vae", parameters, fill, compute_loss, settings, log)
    trained = build_autoencoder().to(device)
    with torch.no_grad():
        for target, value in zip(trained.parameters(), average, strict=True):
            target.copy_(value)
    log(f"vae: trained with {asdict(settings)}")
    return trained.eval().requires_grad_(False), report


@torch.no_grad()
def encode_pictures(
    model: AutoencoderKL, pictures: Tensor, batch_size: int | None = None
) -> Tensor:
    """(S, 3, 128, 128) uint8 to the posterior means, (S, 4, 16, 16) float32, on the same device."""
    on_cuda = pictures.device.type == "cuda"
    layout = torch.channels_last if on_cuda else torch.contiguous_format
    model = model.to(memory_format=layout)
    batch_size = batch_size or (512 if on_cuda else 32)
    parts = []
    for begin in range(0, len(pictures), batch_size):
        part = (pictures[begin : begin + batch_size].float() / 127.5 - 1).contiguous(
            memory_format=layout
        )
        with torch.autocast(pictures.device.type, torch.bfloat16, enabled=on_cuda):
            parts.append(model.encode(part).latent_dist.mean.float())
    return torch.cat(parts)


@torch.no_grad()
def decode_latents(model: AutoencoderKL, latents: Tensor, batch_size: int = 64) -> Tensor:
    """(S, 4, 16, 16) float32 to (S, 3, 128, 128) uint8, on the same device, in float32."""
    parts = []
    for begin in range(0, len(latents), batch_size):
        output = model.decode(latents[begin : begin + batch_size]).sample.float()
        parts.append(((output + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)


@torch.no_grad()
def fold_normalisation(model: AutoencoderKL, latents: Tensor) -> Tensor:
    """Folds zero mean and unit variance a channel into the model's two 1x1 convolutions, in place.

    Afterwards ``scaling_factor`` is 1, and no shift is needed (the Stable Diffusion pipeline knows
    none).

    Args:
        model: Whose encoder made the latents.
        latents: (S, 4, 16, 16) float, what the encoder gave before the folding.

    Returns:
        The normalised latents, (S, 4, 16, 16) float16.
    """
    mean = latents.mean((0, 2, 3), dtype=torch.float32)
    deviation = (latents.float() - mean[:, None, None]).square().mean((0, 2, 3)).sqrt()
    count = LATENT_CHANNELS
    encode, decode = model.quant_conv, model.post_quant_conv
    encode.weight[:count] /= deviation[:, None, None, None]
    encode.bias[:count] = (encode.bias[:count] - mean) / deviation
    encode.bias[count:] -= 2 * deviation.log()
    decode.bias += decode.weight[:, :, 0, 0] @ mean
    decode.weight *= deviation[None, :, None, None]
    return ((latents - mean[:, None, None]) / deviation[:, None, None]).half()


def _compute_steps(difference: Tensor, axis: int) -> Tensor:
    return difference.diff(dim=axis).abs().mean()
