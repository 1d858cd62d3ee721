"""Runs all GPU phases in one go: autoencoder, latents, text encoder and UNet, export, figures."""

import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .autoencoder import encode_pictures, fold_normalisation, train_autoencoder
from .contact_sheet import PROMPTS, draw_contact_sheet
from .dataset import Dataset, read_dataset
from .denoiser import Denoiser, train_denoiser
from .evaluate import load_generator, measure_autoencoder, measure_pipeline
from .export import MAX_BYTES, compute_size_bytes, export_pipeline
from .sampler import PictureSampler
from .training import Settings

_PACKAGES = ("torch", "diffusers", "transformers", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class Options:
    """Everything that the command line sets; see its help text."""

    data: Path
    out: Path
    seed: int
    vae_seconds: float
    unet_seconds: float
    vae_batch_size: int
    unet_batch_size: int
    vae_learning_rate: float
    unet_learning_rate: float
    kl_weight: float
    logit_share: float
    save_at: float
    evaluate_prompts: int
    evaluate_names: int | None
    limit: int | None
    use_compile: bool
    cuda_graph: bool
    device: str | None


class Log:
    """Prints lines with the time since the start and appends them to a file."""

    def __init__(self, path: Path) -> None:
        self._begin = time.perf_counter()
        self._path = path

    def __call__(self, line: str) -> None:
        text = f"[{time.perf_counter() - self._begin:7.1f}] {line}"
        print(text, flush=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


def run(options: Options) -> None:
    """Trains, exports, then measures; every result is on disk before the next phase begins."""
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(options.out / "inductor-cache"))
    log = Log(options.out / "train.log")
    device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _set_up_torch(options.seed)
    warming_up = None
    if options.use_compile and device.type == "cuda":
        warming_up = _start_warm_up(options, log)
    record = _describe_run(options, device)
    data = read_dataset(options.data, device)
    if options.limit is not None:
        data = data.thin_out(options.limit)
    plain, pictures = data.draw_plain(), data.draw(data.specs)
    log(f"{len(data.emoji)} emoji, {len(pictures)} pictures drawn on {record['device']}")

    sampler = PictureSampler(data.sizes, device, options.seed)
    vae, report = train_autoencoder(
        sampler,
        pictures,
        Settings(
            options.vae_seconds,
            options.vae_batch_size,
            options.vae_learning_rate,
            cuda_graph=options.cuda_graph,
        ),
        options.use_compile,
        log,
        options.kl_weight,
    )
    record["vae"] = asdict(report)
    latents = fold_normalisation(vae, encode_pictures(vae, pictures))
    log(f"latents encoded: {tuple(latents.shape)}")
    torch.save(vae.state_dict(), options.out / "vae.pt")
    record["vae"]["figures"] = measure_autoencoder(vae, plain[: options.evaluate_names])
    log(f"vae: {record['vae']['figures']}")
    del pictures
    if device.type == "cuda":
        torch.cuda.empty_cache()
    _write_record(options.out, record)
    _wait_for(warming_up, log)

    vocabulary_size = _count_vocabulary(data)
    torch.manual_seed(options.seed + 1)
    denoiser, report = train_denoiser(
        PictureSampler(data.sizes, device, options.seed + 1),
        latents,
        data.caption_rows,
        data.tokens,
        vocabulary_size,
        _denoiser_settings(options),
        options.use_compile,
        log,
        options.logit_share,
        options.save_at,
        lambda early: _export_early(vae, early, data, options.out, log),
    )
    folder = options.out / "model"
    digests = export_pipeline(vae, denoiser, data.tokenizer, folder)
    record["unet"] = asdict(report)
    record["sha256"] = digests
    record["size_bytes"] = compute_size_bytes(folder)
    _write_record(options.out, record)
    log(f"exported {record['size_bytes']} bytes (limit {MAX_BYTES})")

    generator = load_generator(folder, device)
    sheet = generator.generate(PROMPTS).permute(0, 2, 3, 1).numpy()
    draw_contact_sheet(PROMPTS, sheet, options.out / "contact-sheet.png")
    log("contact sheet drawn")
    record["figures"] = measure_pipeline(
        generator, data, options.seed, options.evaluate_prompts, log, options.evaluate_names
    )
    _write_record(options.out, record)
    log("done")


def warm_up(options: Options) -> None:
    """Compiles the denoiser with the real shapes; training finds it in the compile cache."""
    device = torch.device(options.device or "cuda")
    _set_up_torch(options.seed)
    data = read_dataset(options.data, device)
    sampler = PictureSampler(data.sizes, device, options.seed)
    latents = torch.zeros((len(data.specs), 4, 16, 16), dtype=torch.float16, device=device)
    settings = _denoiser_settings(options, seconds=0.0)
    train_denoiser(
        sampler,
        latents,
        data.caption_rows,
        data.tokens,
        _count_vocabulary(data),
        settings,
        True,
        lambda line: print(line, flush=True),
        options.logit_share,
    )


def _describe_run(options: Options, device: torch.device) -> dict[str, Any]:
    on_cuda = device.type == "cuda"
    versions = {name: version(name) for name in _PACKAGES}
    return {
        "options": {
            key: str(value) if isinstance(value, Path) else value
            for key, value in asdict(options).items()
        },
        "device": torch.cuda.get_device_name() if on_cuda else platform.processor() or "cpu",
        "versions": versions | {"python": platform.python_version()},
    }


def _denoiser_settings(options: Options, seconds: float | None = None) -> Settings:
    return Settings(
        options.unet_seconds if seconds is None else seconds,
        options.unet_batch_size,
        options.unet_learning_rate,
        cuda_graph=options.cuda_graph and seconds is None,
    )


def _set_up_torch(seed: int) -> None:
    torch.manual_seed(seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True


def _start_warm_up(options: Options, log: Log) -> subprocess.Popen[bytes] | None:
    """Starts `warm_up` in a process of its own; if that fails, training merely compiles later."""
    values = {
        "--data": options.data,
        "--out": options.out,
        "--seed": options.seed,
        "--unet-batch-size": options.unet_batch_size,
        "--unet-learning-rate": options.unet_learning_rate,
    }
    command = [sys.executable, "-m", str(__package__), "warm-up"]
    command += [str(part) for pair in values.items() for part in pair]
    try:
        with (options.out / "warm-up.log").open("wb") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    except OSError as error:
        log(f"compile warm-up could not start: {error}")
        return None


def _wait_for(process: subprocess.Popen[bytes] | None, log: Log) -> None:
    if process is None:
        return
    try:
        log(f"compile warm-up ended with status {process.wait(timeout=150)}")
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        log("compile warm-up was still running and was stopped")


def _count_vocabulary(data: Dataset) -> int:
    return len(json.loads((data.tokenizer / "vocab.json").read_text(encoding="utf-8")))


def _export_early(vae: Any, denoiser: Denoiser, data: Dataset, out: Path, log: Log) -> None:
    export_pipeline(vae, denoiser, data.tokenizer, out / "model-early")
    log("early export written")


def _write_record(out: Path, record: dict[str, Any]) -> None:
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
