"""The results as a page."""

from __future__ import annotations

from typing import Any

from sdperf.record.json import parse_record
from sdperf.record.measurement import Gain
from sdperf.report.text.session.gains import format_gain
from sdperf.units import format_bytes, format_score, format_seconds

_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
_HEAD = (
    ("optimisations", "weights", "of 16 bit", "peak", "s/image", "gain", "first call"),
    (
        "optimisations",
        "text encoder",
        "denoiser",
        "VAE",
        "pictures",
        "SSIM",
        "worst tile",
        "PSNR",
        "entropy",
    ),
)


def format_page(document: dict[str, Any]) -> str:
    """Make the Markdown page of a document as `evidence.quantisation` writes it."""
    precision = document["precision"]
    rows = [row for row in document["rows"] if row["refused"] is None]
    lines = [
        f"# Quantised weights: {document['subject'] or document['workload']['model']}, {precision}",
        "",
        "```",
        *document["commands"],
        "```",
        "",
        f"{document['fingerprint']}; "
        + ", ".join(f"{name} {version}" for name, version in document["packages"].items()),
        "",
        f"{document['workload']['num_inference_steps']} steps, {document['threads']} CPU threads. "
        f"Gain is the plain {precision} pipeline's seconds over the set's, in turns on two "
        "resident workers,",
        "with the median of the blocks and an interval of order statistics. Bytes are those of the "
        "weights as they are",
        "stored, scales included, and as a share of the plain pipeline's in 16 bits: of all of its "
        "weights, the VAE's encoder",
        "included, which quantised sets let go. Peak is device memory, or the worker's resident "
        "set on a CPU, its loading",
        "included.",
        "",
        *_table(_HEAD[0], [_format_cost(row, document) for row in rows]),
        "",
        "Components against fp32 on equal inputs (lowest PSNR, dB; not asked of compiled calls), "
        "and the worst of the pictures",
        "against plain fp32:",
        "",
        *_table(_HEAD[1], [_format_quality(row) for row in rows]),
        "",
        *_format_slower(rows),
    ]
    refused = [row for row in document["rows"] if row["refused"] is not None]
    lines += [f"- not measured: `{row['optimisations']}`: {row['refused']}" for row in refused]
    lines += [
        "",
        "What it does not prove: one sitting of two processes on one machine; a few pictures of "
        "one model.",
    ]
    return "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(each)} |" for each in (head, ("---",) * len(head), *rows)]


def compute_share(row: dict[str, Any], document: dict[str, Any]) -> float:
    """Return the bytes of a row's weights over those of the plain weights in 16 bits."""
    plain = sum(document["plain_weight_bytes"].values()) * 2 / _BYTES[document["precision"]]
    return float(sum(row["memory"]["weight_bytes"].values()) / plain)


def _format_cost(row: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    memory = row["memory"]
    times, gain = "not timed", ""
    if row["gain"] is not None:
        times = f"{row['plain_s']:.3f} -> {row['seconds']:.3f}"
        gain = format_gain(parse_record(Gain, row["gain"]))
    peak = memory["peak_device_bytes"] or memory["peak_rss_bytes"]
    return (
        f"`{row['optimisations']}`",
        format_bytes(sum(memory["weight_bytes"].values())),
        f"{compute_share(row, document):.3f}",
        format_bytes(peak),
        times,
        gain,
        format_seconds(row["first_call_s"]),
    )


def _format_quality(row: dict[str, Any]) -> tuple[str, ...]:
    scores = row["fp32"]
    parts = [
        f"{value:.1f}" if (value := row["components"].get(name)) is not None else ""
        for name in ("text encoder", "denoiser", "vae")
    ]
    psnr_db = "identical" if scores["psnr_db"] is None else f"{scores['psnr_db']:.1f}"
    return (
        f"`{row['optimisations']}`",
        *parts,
        str(row["pictures"]),
        format_score(scores["ssim"]),
        format_score(scores["worst_tile_ssim"]),
        psnr_db,
        f"{row['entropy_bits']:.2f}",
    )


def _format_slower(rows: list[dict[str, Any]]) -> list[str]:
    slower = [row for row in rows if row["gain"] is not None and row["gain"]["upper"] < 1]
    return [
        f"- **slower** than plain: `{row['optimisations']}` takes {1 / row['gain']['ratio']:.2f} "
        "times as long"
        for row in slower
    ]
