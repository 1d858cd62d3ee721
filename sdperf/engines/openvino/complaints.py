"""What OpenVINO says went wrong, in one line."""

from __future__ import annotations

from typing import Final

_PLACES: Final = ("Check '", "Exception from", "Exception happened", "FrontEnd API failed")
"""Lines that tell where in OpenVINO's source something was noticed."""

_REASON: Final = "No conversion rule found"
_LONGEST: Final = 300


def explain_complaint(error: BaseException) -> str:
    """Return what an error of OpenVINO says, without where in its source it was noticed."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_PLACES)]
    reasons = [line for line in told if line.startswith(_REASON)]
    return " ".join(reasons or told or lines or [type(error).__name__])[:_LONGEST]
