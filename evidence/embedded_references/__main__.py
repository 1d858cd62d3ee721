"""Command line: ``python -m evidence.embedded_references [--seeds N] [--legal-only]``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from sdperf.cli.quality import describe_making
from sdperf.judging.floors import derive_floors
from sdperf.models.loader import resolve_model
from sdperf.models.presets import EMBEDDED_PRESET
from sdperf.record.floors import Floors
from sdperf.record.workload import DEFAULT_PROMPTS, EMBEDDED, PRECISIONS, Workload
from sdperf.report.text.calibration import format_floors, format_ladder_header, format_rung
from sdperf.run.pool import WorkerPool
from sdperf.run.quality.calibration import Calibrator, list_legal_settings
from sdperf.run.suite import count_cpu_threads
from sdperf.store.references import write_ladder, write_references

from .ladder import list_changes

RESULTS = Path("docs/results/embedded-quality-ladder.json")
COMMAND = "python -m evidence.embedded_references"


def main() -> None:
    """Measure the ladder, derive the floors, write references and evidence."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="seeds for each prompt")
    parser.add_argument("--legal-only", action="store_true", help="leave the real changes out")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one image")
    arguments = parser.parse_args()
    model = resolve_model(EMBEDDED)
    workload = Workload(
        model=EMBEDDED,
        prompts=DEFAULT_PROMPTS,
        num_inference_steps=EMBEDDED_PRESET.num_inference_steps,
        guidance_scale=EMBEDDED_PRESET.guidance_scale,
    )
    shipped = len(DEFAULT_PROMPTS)
    threads = count_cpu_threads()
    pool = WorkerPool(timeout_s=arguments.timeout)
    requests = tuple(workload.image(index) for index in range(shipped * arguments.seeds))
    calibrator = Calibrator(pool, model, "cpu", workload, requests, threads)
    settings = list_legal_settings("cpu", threads, PRECISIONS)
    try:
        made_with = describe_making(COMMAND, pool.describe_device("cpu"), threads)
        pngs = calibrator.draw_plain()
        print(format_ladder_header(), flush=True)
        rungs = []
        for setting in settings + ([] if arguments.legal_only else list_changes()):
            rungs.append(calibrator.measure(setting))
            print(format_rung(rungs[-1]), flush=True)
    finally:
        pool.close()
    keys = {workload.image_key(request) for request in requests[:shipped]}
    floors: dict[str, Floors] = {}
    for precision in PRECISIONS:
        derived = derive_floors(rungs, precision, str(RESULTS))
        kept = tuple(pair for pair in derived.pairs if pair.key in keys)
        floors[precision] = replace(derived, pairs=kept)
    write_references(
        model.folder / "references",
        workload=workload,
        model_hash=model.model_hash,
        images=list(zip(requests, pngs, strict=True))[:shipped],
        floors=floors,
        made_with=made_with,
    )
    evidence = made_with | {
        "model_hash": model.model_hash,
        "images": str(len(requests)),
        "seeds_per_prompt": str(arguments.seeds),
    }
    write_ladder(RESULTS, rungs, evidence)
    for line in format_floors(floors):
        print(line)
    print(f"wrote {model.folder / 'references'} and {RESULTS}")


if __name__ == "__main__":
    main()
