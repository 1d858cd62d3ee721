"""Runs for reports: a real one with its curves and stages, changed by hand; no torch, no device."""

import copy
import json
from pathlib import Path

import numpy as np

import sdperf
from sdperf.images import TrajectoryDistance
from sdperf.images.png import compute_png_sha256, decode_png, encode_png
from sdperf.models.references import load_references
from sdperf.record.measurement import ImageRecord, ImageScores
from sdperf.record.observation import ImageParity, Soundness, TrajectoryParity
from sdperf.record.verdict import Finding, Outcome
from sdperf.record.workload import ImageRequest
from sdperf.store.images import ImageStore
from sdperf.store.quality import QUALITY_KEY, format_quality, make_quality_case

RESULTS = Path(__file__).parents[2] / "docs" / "results"
REFERENCES = Path(sdperf.__file__).parent / "models" / "embedded" / "references"
HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


def real_run(name="cpu-embedded", precision="fp32"):
    """The JSON of a run that was really measured: its timed cases of one precision, or of all."""
    document = json.loads((RESULTS / name / "run.json").read_text())
    document["benchmarks"] = [
        one for one in document["benchmarks"] if precision is None or precision in one["fullname"]
    ]
    names = {one["fullname"] for one in document["benchmarks"]}
    summary = document.setdefault("sdperf", {"format_version": 1, "outcomes": {}})
    summary["outcomes"] = {
        name: outcome for name, outcome in summary["outcomes"].items() if name in names
    }
    return document


def with_cases(document, count):
    """As many cases: copies under names of their own."""
    benchmarks = document["benchmarks"]
    chosen = []
    for number in range(count):
        one = copy.deepcopy(benchmarks[number % len(benchmarks)])
        generation = number // len(benchmarks)
        if generation:
            one["fullname"] = one["fullname"].replace("::test_", f"::test_again{generation}_")
        chosen.append(one)
    names = [one["fullname"] for one in chosen]
    return document | {
        "benchmarks": chosen,
        "sdperf": document["sdperf"] | {"outcomes": dict.fromkeys(names, "PASS")},
    }


def slowed(document, factor, only=None):
    """The same run with longer rounds in all cases, or in those whose name contains ``only``."""
    document = copy.deepcopy(document)
    for saved in document["benchmarks"]:
        if only is None or only in saved["fullname"]:
            rounds = [seconds * factor for seconds in saved["stats"]["data"]]
            saved["stats"]["data"] = rounds
            saved["extra_info"]["sdperf"]["rounds_s"] = rounds
    return document


def damaged_picture():
    """A reference image and the same with a flat tile, as (bytes, bytes, scores)."""
    listed = load_references(REFERENCES)
    reference = listed.listed.images[0]
    before = (REFERENCES / reference.file).read_bytes()
    pixels = decode_png(before).copy()
    pixels[32:64, 64:96] = 128
    after = encode_png(pixels.astype(np.uint8))
    scores = ImageScores("reference", reference.sha256, 0.94, 23.4, 0.49, (64, 32, 96, 64), False)
    return before, after, scores


def with_images(document, folder, precision="fp32"):
    """Give a run quality results: eight images, one of them damaged, and a trajectory."""
    store = ImageStore(folder / "images")
    _, after, scores = damaged_picture()
    store.write(after)
    images = []
    for index, entry in enumerate(load_references(REFERENCES).listed.images):
        own = ImageScores("reference", entry.sha256, 1.0, None, 1.0, (0, 0, 32, 32), True)
        sha256, score = (compute_png_sha256(after), scores) if index == 0 else (entry.sha256, own)
        images.append(ImageRecord(entry.prompt, entry.seed, sha256, 128, 128, 4.2, scores=(score,)))
    rms = tuple(1e-6 * 1.4**step for step in range(20))
    finding = Finding(Outcome.DEGRADED, "image", "'red apple' (seed 0): worst tile SSIM 0.4900")
    sound = Finding(Outcome.PASS, "image", "sound")
    request = ImageRequest("red apple", 0)
    seen = {
        "soundness": (Soundness(tuple(images), request, 20, None), sound),
        "images": (ImageParity("reference", tuple(images), ("key",) * 8), finding),
        "trajectory": (
            TrajectoryParity("plain fp32", request, TrajectoryDistance(rms, rms, None)),
            sound,
        ),
    }
    cases = tuple(
        make_quality_case(
            f"benchmarks/test_quality.py::test_{name}[{precision}]", precision, observation, (said,)
        )
        for name, (observation, said) in seen.items()
    )
    outcomes = document["sdperf"]["outcomes"] | {one.case: one.outcome for one in cases}
    return document | {
        QUALITY_KEY: format_quality(cases),
        "sdperf": document["sdperf"] | {"outcomes": outcomes},
    }


def with_hostile_names(document):
    """Put markup wherever a run carries words of somebody else's."""
    document = copy.deepcopy(document)
    document["commit_info"] |= {"branch": HOSTILE, "id": HOSTILE}
    document["machine_info"]["node"] = HOSTILE
    outcomes = document["sdperf"]["outcomes"]
    for saved in document["benchmarks"]:
        name = saved["fullname"]
        saved["fullname"] = f"{name}{HOSTILE}"
        outcomes[saved["fullname"]] = outcomes.pop(name)
        record = saved["extra_info"]["sdperf"]
        record["workload"]["prompts"] = [HOSTILE]
        record["subject"] = HOSTILE
        record["environment"]["variables"]["PYTORCH_NOTE"] = HOSTILE
        record["verdict"]["findings"] = [
            {"outcome": "DEGRADED", "gate": HOSTILE, "reason": HOSTILE}
        ]
        for image in record["images"]:
            image["prompt"] = HOSTILE
    return document


def save(folder, document, name="run.json"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(document))
    return path
