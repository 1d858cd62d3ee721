"""Real changes to a generation, from harmless to damaging: they place the floors on a scale."""

from __future__ import annotations

from sdperf.run.quality.calibration import CalibratedSetting

_SUBJECTS = "evidence.embedded_references.rounding"


def list_changes() -> list[CalibratedSetting]:
    """List the changes; none of them sets a floor."""
    settings = [
        CalibratedSetting("int8 weights", "change", subject=f"{_SUBJECTS}:int8_weights"),
        CalibratedSetting("int4 weights", "change", subject=f"{_SUBJECTS}:int4_weights"),
    ]
    settings += [
        CalibratedSetting(f"{steps} steps", "change", workload={"num_inference_steps": steps})
        for steps in (50, 15, 10, 8, 5)
    ]
    settings += [
        CalibratedSetting(name.removesuffix("Scheduler"), "change", workload={"scheduler": name})
        for name in (
            "UniPCMultistepScheduler",
            "HeunDiscreteScheduler",
            "EulerDiscreteScheduler",
            "DDIMScheduler",
            "DEISMultistepScheduler",
            "PNDMScheduler",
        )
    ]
    settings += [
        CalibratedSetting(f"guidance {scale:g}", "change", workload={"guidance_scale": scale})
        for scale in (7.5, 5.0, 2.0, 1.0)
    ]
    return [*settings, CalibratedSetting("another seed", "change", seed_shift=1000)]
