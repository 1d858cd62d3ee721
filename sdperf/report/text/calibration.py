"""The quality ladder and the floors that follow from it, as a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sdperf.record.floors import Floors
from sdperf.record.observation import Rung
from sdperf.report.table import Column
from sdperf.report.text.table import lay_out
from sdperf.units import UNKNOWN, format_score

_COLUMNS: Final = (
    Column("worst over the images", is_text=True, least=26),
    Column("", is_text=True, least=7),
    Column("SSIM", least=7),
    Column("tile", least=7),
    Column("PSNR", least=8),
    Column("entropy", least=8),
    Column("latents", least=9),
)
"""Widths of the columns in characters; rungs are printed while others are still measured."""


def format_rung(rung: Rung) -> str:
    """Format one rung as a line: worst scores over the images."""
    return _lay_out(
        rung.name,
        rung.sort,
        format_score(rung.ssim_min),
        format_score(rung.worst_tile_ssim_min),
        _decibels(rung.psnr_db_min),
        f"{rung.entropy_drop_bits_max:.3f}",
        _rms(rung.trajectory_rms),
    )


def format_ladder_header() -> str:
    """Format the header over the rungs."""
    return _lay_out(*(column.title for column in _COLUMNS))


def _lay_out(*cells: str) -> str:
    return lay_out(_COLUMNS, [column.least for column in _COLUMNS], cells)


def format_floors(floors: Mapping[str, Floors]) -> list[str]:
    """Format the floors, one block of lines per precision."""
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
