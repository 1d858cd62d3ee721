"""Every reader of a file, called without its command: thousands of damaged files in seconds.

A reader is given bytes, and whatever is made of them is judged and laid out as its command would.
It may refuse them with an `SdperfError`; anything else that it raises is a fault.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.ab.keeping import read_kept
from sdperf.ab.sides.sides import MatrixCase
from sdperf.ab.verdict.comparison import CompareOptions
from sdperf.ab.verdict.judging import judge_comparison
from sdperf.bisect.search import History
from sdperf.bisect.state import BisectQuestion, BisectState, StateFolder
from sdperf.errors import SdperfError
from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.judging.session.saved import compare_sessions
from sdperf.record.json import format_record
from sdperf.record.workload import Workload
from sdperf.report.compare import format_comparison_json, format_comparison_table
from sdperf.report.html.raw_data import ELEMENT_ID, pack_machines, read_report
from sdperf.report.markdown.ab import format_comparison_markdown, parse_comparison
from sdperf.report.markdown.sweep import format_sweep_markdown
from sdperf.report.sweep import format_sweep_lines
from sdperf.report.text.ab import format_comparison
from sdperf.report.text.tune import format_study
from sdperf.store.baselines import BaselineStore
from sdperf.store.calibration import read_calibrations
from sdperf.store.contribution.contribution import parse_contribution
from sdperf.store.controls import NullControl, append_control, read_controls
from sdperf.store.history.importing import read_chunk
from sdperf.store.journal import (
    JournalEntry,
    JournalHead,
    JournalProcess,
    format_line,
    parse_journal,
)
from sdperf.store.profile import Profile, format_profile, parse_profile
from sdperf.store.runs import ACCEPTED_KEY, Acceptance, format_content, parse_run, read_document
from sdperf.sweep.judging import CaseStep, StageStep, VersionFigures
from sdperf.sweep.plan import SweepPlan
from sdperf.sweep.state import PairRecord, SweepFolder, SweepQuestion, SweepState
from sdperf.sweep.summary import SweepContext, format_sweep_json, read_sweep, summarise_sweep
from sdperf.sweep.sweeping import SweepConclusion
from sdperf.tune.summary import read_summary
from tools.fuzz_readers import call

RESULTS: Final = Path("docs/results")


@dataclass(frozen=True)
class FileReader:
    """A reader, and a sound file for it.

    Attributes:
        name: What the file is.
        document: The file as a JSON value; of a file that is no JSON, its lines.
        encode: Makes the file's bytes of a damaged document.
        read: Reads the bytes, and goes on as the command would; a folder may be written.
    """

    name: str
    document: Any
    encode: Callable[[Any], bytes]
    read: Callable[[bytes, Path], None]

    def find_fault(self, content: bytes) -> BaseException | None:
        """Return what a reader raised and should not have; ``None`` where it took it well."""
        with tempfile.TemporaryDirectory(prefix="sdperf-fuzz-") as folder:
            try:
                self.read(content, Path(folder))
            except SdperfError:
                return None
            except BaseException as error:  # noqa: BLE001 (that is what is looked for)
                return error
        return None


def to_json(document: Any) -> bytes:
    """Return a damaged JSON value as a file."""
    return json.dumps(document).encode()


def make_file_readers(results: Path, shorten: Callable[[dict[str, Any]], Any]) -> list[FileReader]:
    """Make all readers, each with a sound file.

    Args:
        results: Committed results, which most sound files are taken from.
        shorten: Cuts a run down to a few cases.
    """
    run = shorten(json.loads((results / "cpu-embedded/run.json").read_bytes()))
    sound = json.dumps(run)
    comparison = json.loads((results / "ab-torch-2.13-2.14.json").read_bytes())
    comparison["cases"] = comparison["cases"][:1]
    (bundle, *_) = sorted((results / "machines").glob("*.json"))
    fingerprint = parse_reported_run("run.json", run).machine
    return [
        FileReader("run, judged", run, to_json, _judging(sound)),
        FileReader("run, into the history", run, to_json, _read_into_history),
        FileReader("baseline", _accept(run), to_json, _reading_baselines(fingerprint)),
        FileReader("report", _open_report(run), _close_report, _read_report),
        FileReader("journal", _make_journal(run), _write_journal, _read_journal),
        FileReader("contribution", json.loads(bundle.read_bytes()), to_json, _read_contribution),
        FileReader("profile", _make_profile(), _join_lines, _read_profile),
        FileReader("comparison of sdperf ab", comparison, to_json, _read_comparison),
        FileReader("finished cases of sdperf ab", _keep(comparison), to_json, _read_kept),
        FileReader("state of sdperf bisect", _make_search(), to_json, _read_search),
        FileReader("state of sdperf sweep", _make_swept(), to_json, _read_swept),
        FileReader("summary of sdperf sweep", _make_curve(), to_json, _read_curve),
        FileReader(
            "study",
            json.loads((results / "tune-cpu-embedded.json").read_bytes()),
            to_json,
            _read_study,
        ),
        FileReader(
            "calibration",
            json.loads((results / "calibrate-shared-cpu/first.json").read_bytes()),
            to_json,
            _read_calibration,
        ),
        FileReader("log of null controls", _make_log(), _join_json_lines, _read_log),
    ]


def _write(folder: Path, content: bytes, name: str = "bad.json") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _judging(sound: str) -> Callable[[bytes, Path], None]:
    def judge(content: bytes, folder: Path) -> None:
        path = _write(folder, content)
        damaged, whole = read_document(path), json.loads(sound)
        sessions = [
            parse_run(Path(name), one, needs_rounds=True)
            for name, one in (("a", damaged), ("b", whole))
        ]
        for bases, head in (([sessions[0]], sessions[1]), ([sessions[1]], sessions[0])):
            compared = compare_sessions(bases, head)
            format_comparison_json(compared)
            format_comparison_table(compared)
        judge_machine([parse_reported_run("b", whole), parse_reported_run("a", damaged)])

    return judge


def _read_into_history(content: bytes, folder: Path) -> None:
    read_chunk([_write(folder, content)])


def _accept(run: dict[str, Any]) -> dict[str, Any]:
    content_sha256 = hashlib.sha256(format_content(run)).hexdigest()
    acceptance = Acceptance("because", "2026-11-23T00:00:00+00:00", "f" * 40, content_sha256)
    return run | {ACCEPTED_KEY: format_record(acceptance)}


def _reading_baselines(fingerprint: str) -> Callable[[bytes, Path], None]:
    def read(content: bytes, folder: Path) -> None:
        _write(folder / fingerprint, content, "0001_first.json")
        store = BaselineStore(folder)
        store.list_fingerprints()
        store.load(fingerprint)

    return read


def _open_report(run: dict[str, Any]) -> Any:
    machine = judge_machine([parse_reported_run(name, run) for name in ("one.json", "two.json")])
    return json.loads(gzip.decompress(base64.b64decode(pack_machines([machine]))))


def _close_report(document: Any) -> bytes:
    packed = base64.b64encode(gzip.compress(to_json(document), 1)).decode()
    return f'<html><script id="{ELEMENT_ID}">{packed}</script></html>'.encode()


def _read_report(content: bytes, folder: Path) -> None:
    path = _write(folder, content, "report.html")
    read_report(path)
    found = call(["replay", str(path)])
    if found is not None:
        raise AssertionError(found)


def _make_journal(run: dict[str, Any]) -> Any:
    head = JournalHead("20261123T000000.000000-1", {"rounds": "5"}, "c" * 64, ("-q",), "/x", 2)
    process = JournalProcess(1, "2026-11-23T00:00:00.000+00:00")
    record = run["benchmarks"][0]["extra_info"]["sdperf"]
    entry = JournalEntry(
        "test_a.py::test_a",
        "timed",
        record,
        record["environment"],
        "a" * 64,
        (),
        process.started_at,
    )
    kinds = (("session", head), ("process", process), ("case", entry))
    return [{"is": kind} | format_record(one) for kind, one in kinds]


def _write_journal(document: Any) -> bytes:
    lines = document if isinstance(document, list) else [document]
    return b"".join(
        format_line(json.loads(json.dumps(one).replace("NaN", "0").replace("Infinity", "0")))
        for one in lines
    )


def _read_journal(content: bytes, folder: Path) -> None:
    parse_journal(folder / "journal.jsonl", content)


def _read_contribution(content: bytes, folder: Path) -> None:  # noqa: ARG001
    parse_contribution(content)


def _make_profile() -> list[str]:
    settings = {"precision": "bf16", "mode": "async", "workers": 2, "engine": "openvino"}
    evidence = {"study": "tune", "faster": 2.5, "blocks": 4, "is_confirmed": True}
    profile = Profile("embedded", 9, 2.5, scheduler="UniPCMultistepScheduler", evidence=evidence)
    return format_profile(dataclasses.replace(profile, **settings)).splitlines()


def _join_lines(document: Any) -> bytes:
    lines = document if isinstance(document, list) else [document]
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return "\n".join(texts).encode("utf-8", "replace")


def _read_profile(content: bytes, folder: Path) -> None:  # noqa: ARG001
    parse_profile(content.decode("utf-8", "replace"))


def _read_comparison(content: bytes, folder: Path) -> None:  # noqa: ARG001
    comparison = parse_comparison(content.decode("utf-8", "replace"))
    verdict = judge_comparison(comparison)
    format_comparison(comparison, verdict)
    format_comparison_markdown(comparison, verdict)


def _keep(comparison: dict[str, Any]) -> dict[str, Any]:
    return {
        "question": "0" * 64,
        "started_at": comparison["created"],
        "cases": comparison["cases"],
        "control": comparison["control"],
        "format_version": 1,
    }


def _read_kept(content: bytes, folder: Path) -> None:
    read_kept(_write(folder, content))


def _ask() -> BisectQuestion:
    return BisectQuestion(
        kind="revisions",
        good="a" * 40,
        history=History(("b" * 40, "c" * 40), {"c" * 40: ("b" * 40,)}),
        aspects=("speed",),
        workload=Workload("embedded", ("red apple",), 4, 3.0),
        subject=None,
        device="cpu",
        cases=(),
        options=CompareOptions(),
    )


def _make_search() -> Any:
    return format_record(BisectState(_ask(), "2026-11-23T00:00:00+00:00"))


def _read_search(content: bytes, folder: Path) -> None:
    state = StateFolder(folder, _ask().key())
    _write(state.path.parent, content, state.path.name)
    state.read()


def _ask_sweep() -> SweepQuestion:
    return SweepQuestion(
        kind="packages",
        about="planted",
        plan=SweepPlan(("planted==1.0", "planted==2.0"), ("planted==1.0", "planted==2.0")),
        workload=Workload("embedded", ("red apple",), 4, 3.0),
        subject=None,
        device="cpu",
        cases=(MatrixCase(),),
        options=CompareOptions(),
    )


def _end_sweep() -> SweepConclusion:
    first, second = _ask_sweep().plan.steps
    stage = StageStep("denoise", 0.8, 0.9, 0.1, 0.05, 0.15)
    figures = VersionFigures(1.0, 2**29, None, 0.5, 1.5)
    found = CaseStep(
        case=MatrixCase().id,
        speed="slower",
        change_log=0.1,
        lower_log=0.05,
        upper_log=0.15,
        contrasts=(0.1, 0.1, 0.1, 0.1),
        before=figures,
        after=figures,
        memory="same",
        pictures="alike",
        ssim=0.99,
        worst_tile_ssim=0.98,
        stages=(stage,),
    )
    pair = PairRecord(first, second, "neighbour", cases=(found,))
    state = SweepState(_ask_sweep(), "2026-11-23T00:00:00+00:00", (pair,))
    return SweepConclusion("done", state)


def _make_swept() -> Any:
    return format_record(_end_sweep().state)


def _read_swept(content: bytes, folder: Path) -> None:
    kept = SweepFolder(folder, _ask_sweep().key())
    _write(kept.path.parent, content, kept.path.name)
    kept.read()


def _make_curve() -> Any:
    names = dict(zip(_ask_sweep().plan.steps, ("1.0", "2.0"), strict=True))
    context = SweepContext(names, {"1.0": "first"}, None, "a" * 64, "sdperf sweep", "0")
    return json.loads(format_sweep_json(summarise_sweep(_end_sweep(), context)))


def _read_curve(content: bytes, folder: Path) -> None:
    summary = read_sweep(_write(folder, content))
    format_sweep_lines(summary)
    format_sweep_markdown(summary)


def _read_study(content: bytes, folder: Path) -> None:
    format_study(read_summary(_write(folder, content)))


def _read_calibration(content: bytes, folder: Path) -> None:
    _write(folder, content)
    read_calibrations(folder)


def _make_log() -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        append_control(path, "machine", NullControl("case", "2026-11-23", 0.03, (0.01,), True))
        return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]


def _join_json_lines(document: Any) -> bytes:
    lines = document if isinstance(document, list) else [document]
    return b"\n".join(map(to_json, lines))


def _read_log(content: bytes, folder: Path) -> None:
    read_controls(_write(folder, content), "machine")
