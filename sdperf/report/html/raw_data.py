"""Packs the raw data into a report, and reads them from a file that anybody may have written.

One ``<script type="application/octet-stream" id="sdperf-raw-data">`` holds JSON, packed with gzip
and base64: it runs nowhere, and no byte of a prompt can end the element early. Pure, but for
reading the file.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

from sdperf import __version__
from sdperf.errors import RecordError
from sdperf.judging.machine import JudgedMachine, judge_machine, parse_reported_run
from sdperf.judging.session.limits import Limits
from sdperf.record.json import (
    check_format_version,
    decode_object,
    format_record,
    parse_record,
)
from sdperf.record.verdict import SettledCase
from sdperf.settings import HTML
from sdperf.store.runs import RUN_KEY

ELEMENT_ID: Final = "sdperf-raw-data"
FORMAT_VERSION: Final = 1
LARGEST_REPORT_BYTES: Final = 64 * 2**20
LARGEST_DATA_BYTES: Final = 256 * 2**20
"""The most bytes of unpacked data; a few kilobytes can unpack to gigabytes."""

_NOT_JUDGED: Final = frozenset({"resources", "limits", "stages", "guards"})
"""Parts of a record that judges do not read; bases are stored without them."""


def pack_machines(machines: Sequence[JudgedMachine]) -> str:
    """Pack the verdicts and everything that they were judged by.

    The judged runs are packed whole. The runs that they are compared with are packed without
    stages, resources and guards. Equal data give equal text.

    Returns:
        Base64 text in one line.
    """
    document = {
        "format_version": FORMAT_VERSION,
        "made_by": __version__,
        "machines": [
            {
                "runs": [
                    *(
                        {"name": base.name, "document": _prune(base.document)}
                        for base in machine.bases
                    ),
                    {"name": machine.head.name, "document": machine.head.document},
                ],
                "limits": format_record(machine.limits),
                "settled": {
                    name: format_record(settled) for name, settled in machine.settled.items()
                },
                "notes": list(machine.notes),
                "no_overlap": machine.no_overlap,
                "said": {case.name: case.verdict.outcome.value for case in machine.cases},
            }
            for machine in machines
        ],
    }
    packed = json.dumps(document, allow_nan=False, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(packed, mtime=0)).decode()


def _prune(document: Mapping[str, Any]) -> dict[str, Any]:
    benchmarks = []
    for saved in document["benchmarks"]:
        extra = saved.get("extra_info")
        record = extra.get(RUN_KEY) if isinstance(extra, dict) else None
        if isinstance(record, dict):
            kept = {key: value for key, value in record.items() if key not in _NOT_JUDGED}
            saved = saved | {"extra_info": {RUN_KEY: kept}}
        benchmarks.append(saved)
    return {**document, "benchmarks": benchmarks}


def read_report(
    path: Path, adjust: Callable[[Limits], Limits] | None = None
) -> list[tuple[JudgedMachine, dict[str, str]]]:
    """Read a report's raw data and judge it again.

    Nothing in the page is run or shown; only the text of one element is read.

    Args:
        path: The report.
        adjust: Changes the limits that the report was made with.

    Returns:
        Each machine as judged now, with the outcomes that the report shows, by test id.

    Raises:
        RecordError: The file is missing, too large, no report, damaged, or holds no run.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes > LARGEST_REPORT_BYTES:
            raise _damaged(path, f"{size_bytes} bytes", f"at most {LARGEST_REPORT_BYTES}")
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        is_absent = isinstance(error, FileNotFoundError)
        raise RecordError(
            f"{path} cannot be read",
            got=reason or str(error),
            hint=f"name a report that exists; sdperf report writes one; {HTML} FILE writes one too"
            if is_absent
            else None,
        ) from error
    packed = find_raw_data(text)
    if packed is None:
        raise RecordError(
            f"{path} holds no raw data",
            got="an HTML file without it, or one that was cut off",
            expected="a report as 'sdperf report' writes it",
        )
    document = _unpack(path, packed)
    if document.get("format_version") == FORMAT_VERSION and document.get("machines") == []:
        raise RecordError(
            f"{path} holds no run, so that there is nothing to judge again",
            got="a page of a sweep or a study alone",
            expected="a report of runs, as 'sdperf report RUN.json' writes it",
        )
    try:
        return _parse(document, adjust or (lambda limits: limits))
    except RecordError as error:
        raise _damaged(path, str(error)) from error


def find_raw_data(text: str) -> str | None:
    """Return the text of the raw data's element; ``None`` where a page has none or several."""
    finder = _Finder()
    finder.feed(text)
    finder.close()
    return finder.found[0] if len(finder.found) == 1 and finder.is_closed else None


class _Finder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self.is_closed = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and dict(attrs).get("id") == ELEMENT_ID:
            self.found.append("")
            self.is_closed = False

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self.is_closed = True

    def handle_data(self, data: str) -> None:
        if not self.is_closed:
            self.found[-1] += data


def _unpack(path: Path, packed: str) -> dict[str, Any]:
    try:
        compressed = base64.b64decode("".join(packed.split()), validate=True)
        unpacker = zlib.decompressobj(wbits=31)
        raw = unpacker.decompress(compressed, LARGEST_DATA_BYTES)
        if not unpacker.eof:
            raise _damaged(path, "incomplete data, or far more than a report holds")
        return decode_object(raw, "its raw data")
    except (binascii.Error, zlib.error, ValueError, RecordError) as error:
        raise _damaged(path, str(error)[:200]) from error


def _parse(
    document: Mapping[str, Any], adjust: Callable[[Limits], Limits]
) -> list[tuple[JudgedMachine, dict[str, str]]]:
    check_format_version("the raw data", document.get("format_version"), FORMAT_VERSION)
    machines = _require(document, "machines", list)
    return [_parse_machine(machine, adjust) for machine in machines]


def _parse_machine(
    machine: object, adjust: Callable[[Limits], Limits]
) -> tuple[JudgedMachine, dict[str, str]]:
    if not isinstance(machine, dict):
        raise RecordError("a machine cannot be read", got=type(machine).__name__)
    listed = _require(machine, "runs", list)
    if not listed or not all(isinstance(run, dict) for run in listed):
        raise RecordError("a machine's runs cannot be read")
    runs = [
        parse_reported_run(_require(run, "name", str), _require(run, "document", dict))
        for run in listed
    ]
    judged = judge_machine(
        runs,
        adjust(parse_record(Limits, machine.get("limits"))),
        settled={
            name: parse_record(SettledCase, settled)
            for name, settled in _require(machine, "settled", dict).items()
        },
        notes=[str(note) for note in _require(machine, "notes", list)],
        no_overlap=None if machine.get("no_overlap") is None else str(machine["no_overlap"]),
    )
    said = _require(machine, "said", dict)
    return judged, {name: str(outcome) for name, outcome in said.items()}


def _require(document: Mapping[str, Any], key: str, kind: type) -> Any:
    value = document.get(key)
    if not isinstance(value, kind):
        raise RecordError(f"{key} cannot be read", got=type(value).__name__, expected=kind.__name__)
    return value


def _damaged(path: Path, got: str, expected: str | None = None) -> RecordError:
    return RecordError(
        f"{path} is a damaged report",
        got=got,
        expected=expected,
        hint="make it again: sdperf report RUN.json -o report.html",
    )
