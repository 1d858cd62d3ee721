"""Plans what ``sdperf init`` would write, from a repository's files. Pure: it reads no disk."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as resource_files
from typing import Final

from sdperf.scaffold.ini import PLACES, add_settings, find_place, list_set
from sdperf.scaffold.lines import (
    BYTE_ORDER_MARK,
    find_line_end,
    insert_lines,
    split_lines,
    unify_line_ends,
)
from sdperf.scaffold.stamps import add_stamp, is_untouched
from sdperf.settings import MODEL, SUBJECT
from sdperf.suite import FOLDER, list_suite_files

WORKFLOWS: Final = ("mac", "gpu", "hosted")
"""A self-hosted Mac, a self-hosted machine with an NVIDIA GPU, and GitHub's own (pictures only)."""

_SELF_HOSTED: Final[Mapping[str, Mapping[str, str]]] = {
    "mac": {
        "HEAD": "Benchmarks on a Mac of your own: GitHub's Macs have no GPU that can be measured.",
        "PLACE": "a Mac",
        "VARIABLE": "SDPERF_MAC",
        "LABELS": "macOS, ARM64",
        "DEVICE": "mps",
        "AWAKE": "caffeinate -dims ",
    },
    "gpu": {
        "HEAD": "Benchmarks on a machine of your own with an NVIDIA GPU.",
        "PLACE": "a GPU",
        "VARIABLE": "SDPERF_GPU",
        "LABELS": "linux, gpu",
        "DEVICE": "cuda",
        "AWAKE": "",
    },
}
"""Words of the one template for workflows on the user's own machines, by workflow."""

IGNORED: Final = (".benchmarks/", ".sdperf/")
"""Folders of saved runs and of sdperf's own files, which belong to no repository."""

OWN_FILE: Final = f"{FOLDER}/pipeline.py"
OWN_SUBJECT: Final = f"{FOLDER}.pipeline:make"
"""The function that ``--subject new`` writes and names."""

_INSTALLED: Final = re.compile(r"^ +SDPERF: '([^'\n]+)'$", re.MULTILINE)
_OF_A_VERSION: Final = re.compile(r"sdperf\[report\]==[\w.]+")

_OWN_PIPELINE: Final = '''\
"""The pipeline under test: change it, and the next run tells what became slower or uglier."""


def make(request):
    """Return the pipeline to measure.

    Args:
        request: What is asked for; ``request.load()`` returns the plain diffusers pipeline of the
            model, in the precision and on the device of the case.
    """
    pipeline = request.load()
    # Your changes come here, such as: pipeline.unet.fuse_qkv_projections()
    return pipeline
'''


@dataclass(frozen=True)
class Wanted:
    """The user's wishes for a repository.

    Attributes:
        model: The model to measure; ``None`` for the embedded model.
        subject: ``MODULE:FUNCTION`` of the user's code, ``new`` to begin one; ``None`` without one.
        workflows: Some of `WORKFLOWS`.
        requirement: The requirement that pip installs in a workflow.
        upgrades: Whether to bring files of an earlier ``sdperf init`` up to date.
    """

    model: str | None = None
    subject: str | None = None
    workflows: Sequence[str] = ()
    requirement: str = "sdperf[report]"
    upgrades: bool = False


@dataclass(frozen=True)
class PlannedFile:
    """One file with its planned content.

    Attributes:
        path: Relative to the repository, with ``/``.
        before: Its text; ``None`` where it does not exist.
        after: Its text afterwards; ``None`` leaves it as it is.
        note: Why it is not changed, in words.
    """

    path: str
    before: str | None
    after: str | None
    note: str = ""

    @property
    def is_written(self) -> bool:
        """Whether anything is written."""
        return self.after is not None


def list_read_paths() -> tuple[str, ...]:
    """List the files of a repository that a plan depends on, each of which may be missing."""
    suite = (f"{FOLDER}/{one.name}" for one in list_suite_files())
    workflows = map(_workflow_path, WORKFLOWS)
    places = dict.fromkeys(one.file for one in PLACES)
    return (*suite, OWN_FILE, *workflows, ".gitignore", *places)


def plan_scaffold(existing: Mapping[str, str], wanted: Wanted, version: str) -> list[PlannedFile]:
    """Plan what to write.

    Args:
        existing: Texts of those of `list_read_paths` that exist, by path.
        wanted: The user's wishes.
        version: Version of this sdperf, for the stamps.

    Returns:
        One entry per file, in the order of showing; unchanged files are included, with the reason.

    Raises:
        ConfigurationError: A file with pytest's settings cannot be read, or not be added to.
    """
    texts = {f"{FOLDER}/{one.name}": one.read_text("utf-8") for one in list_suite_files()}
    if wanted.subject == "new" or (wanted.upgrades and OWN_FILE in existing):
        texts[OWN_FILE] = _OWN_PIPELINE
    for name in WORKFLOWS:
        path = _workflow_path(name)
        if name in wanted.workflows or (wanted.upgrades and path in existing):
            installed = _find_requirement(unify_line_ends(existing.get(path, "")))
            requirement = installed or wanted.requirement
            texts[path] = _make_workflow(name, requirement)
    planned = [
        _plan_stamped(path, existing.get(path), add_stamp(text, version), wanted.upgrades)
        for path, text in texts.items()
    ]
    if not wanted.upgrades:
        planned.append(_plan_settings(existing, wanted))
    planned.append(_plan_ignored(existing.get(".gitignore")))
    return planned


def _workflow_path(name: str) -> str:
    return f".github/workflows/sdperf-{name}.yml"


def _make_workflow(name: str, requirement: str) -> str:
    words = _SELF_HOSTED.get(name)
    file = f"{name}.yml" if words is None else "self-hosted.yml"
    text = (resource_files("sdperf.scaffold") / "templates" / file).read_text("utf-8")
    for place, word in {**(words or {}), "NAME": name, "REQUIREMENT": requirement}.items():
        text = text.replace(f"@{place}@", word)
    return text


def _find_requirement(workflow: str) -> str | None:
    """Return what a workflow installs, where that is not just a version of sdperf."""
    match = _INSTALLED.search(workflow)
    return None if match is None or _OF_A_VERSION.fullmatch(match[1]) else match[1]


def _plan_stamped(path: str, before: str | None, after: str, upgrades: bool) -> PlannedFile:
    if before is None:
        return PlannedFile(path, None, after)
    if unify_line_ends(before) == after:
        return PlannedFile(path, before, None, "up to date")
    untouched = is_untouched(before)
    if untouched is None:
        return PlannedFile(path, before, None, "not written by sdperf init")
    if not untouched:
        return PlannedFile(
            path,
            before,
            None,
            "edited since it was written: it stays; move it away to get the new text",
        )
    if not upgrades:
        return PlannedFile(path, before, None, "of another version: --upgrade replaces it")
    return PlannedFile(path, before, after.replace("\n", find_line_end(before)))


def _plan_settings(existing: Mapping[str, str], wanted: Wanted) -> PlannedFile:
    subject = OWN_SUBJECT if wanted.subject == "new" else wanted.subject
    asked = {MODEL.ini: wanted.model, SUBJECT.ini: subject}
    settings = {key: value for key, value in asked.items() if value is not None}
    named = dict.fromkeys(one.file for one in PLACES)
    place = find_place({name: existing[name] for name in named if name in existing})
    before = existing.get(place.file)
    if not settings:
        note = "neither --model nor --subject asks for a setting"
        return PlannedFile(place.file, before, None, note)
    held = list_set(before or "", place)
    missing = {key: value for key, value in settings.items() if key not in held}
    others = [key for key in settings if key in held and held[key] != settings[key]]
    if others:
        note = ", ".join(f"{key} is {held[key]}" for key in others)
        return PlannedFile(place.file, before, None, f"it has settings already: {note}")
    if not missing:
        return PlannedFile(place.file, before, None, "up to date")
    return PlannedFile(place.file, before, add_settings(before or "", place, missing))


def _plan_ignored(before: str | None) -> PlannedFile:
    text = before or ""
    said = {line.strip().strip("/") for line in split_lines(text.removeprefix(BYTE_ORDER_MARK))}
    missing = [one for one in IGNORED if one.strip("/") not in said]
    if not missing:
        return PlannedFile(".gitignore", before, None, "up to date")
    after = insert_lines(text, len(split_lines(text)), missing)
    return PlannedFile(".gitignore", before, after)
