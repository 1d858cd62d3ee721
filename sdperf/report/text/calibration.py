"""The quality ladder and the floors that follow from it, as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sdperf.record.floors import Floors
from sdperf.record.observation import Rung
from sdperf.units import UNKNOWN, format_score

_NAME_WIDTH = 26


def format_rung(rung: Rung) -> str:
    """Format one rung as a line: worst scores over the images."""
    return (
        f"{rung.name:<{_NAME_WIDTH}} {rung.sort:<7} {format_score(rung.ssim_min):>7} "
        f"{format_score(rung.worst_tile_ssim_min):>7} {_decibels(rung.psnr_db_min):>8} "
        f"{rung.entropy_drop_bits_max:>8.3f} {_rms(rung.trajectory_rms):>9}"
    )


def format_ladder_header() -> str:
    """Format the header over the rungs."""
    return (
        f"{'worst over the images':<{_NAME_WIDTH}} {'':<7} {'SSIM':>7} {'tile':>7} {'PSNR':>8} "
        f"{'entropy':>8} {'latents':>9}"
    )


def format_floors(floors: Mapping[str, Floors]) -> list[str]:
    """Format the floors, one precision a block of lines."""
    lines = []
    for precision, floor in floors.items():
        lines.append(
            f"{precision}: SSIM {floor.ssim:.4f}, worst tile {floor.worst_tile_ssim:.4f}, "
            f"PSNR {_decibels(floor.psnr_db)}, worst tile {_decibels(floor.worst_tile_psnr_db)}, "
            f"entropy drop {floor.entropy_drop_bits:.2f} bit"
        )
        components = ", ".join(
            f"{name} {one.psnr_db:.0f} dB" for name, one in floor.components.items()
        )
        if components:
            lines.append(f"      {components}; latents {_rms(floor.trajectory_rms)} relative RMS")
    return lines


def _decibels(psnr_db: float | None) -> str:
    return "equal" if psnr_db is None else f"{psnr_db:.1f} dB"


def _rms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2g}"
