"""Lays ``docs/mps-models.md`` out from what was recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from evidence.mps_models.memory import GIB, MEMORY_GIB, MemoryNeed, memory_need, usable_bytes
from sdperf.report.markdown.words import escape_markdown

_WORDS: Final = {
    "error": "raises",
    "crash": "aborts",
    "wrong": "wrong",
    "fallback": "cpu",
    "slow": "slow",
    "differs": "differs",
}
_PRECISIONS: Final = ("fp16", "bf16", "fp32")
_HARMFUL: Final = ("crash", "error", "wrong", "fallback")
_ORDER: Final = (*_HARMFUL, "slow", "differs")
_HEAD: Final = """\
# Which torch and which precision for which model on a Mac

Made by `python -m evidence.mps_models` from `docs/results/mps-models.json`; do not edit.
Nothing here was tried on a Mac: {count} models were recorded at their published sizes, without
weights, for two steps (diffusers {diffusers}), by [`sdperf mps-check`](mps-check.md), and compared
with what each torch registers for MPS and with the list of known limits ({limits}).
Numbers are not computed, so that a precision that overflows (SDXL's VAE in fp16) is not seen.

## In a minute

Find your model, install that torch (`pip install torch==VERSION`, on macOS 14 or later), take a
precision that your memory holds: *all* networks at a time, or *one* after another.

"""
_BY_MAC: Final = """\

Then look for your Mac:

- **M1**: fp16 rather than bf16, which it emulates (`bfloat16-on-old-chips`).
- **M5 and later**: torch 2.13 or later (`linear-half-on-m5`), and more than one process where time
  is measured (`slow-product-in-some-processes`).
- **macOS 27**: torch 2.13 or later (`macos-27-before-2.13`).
- **macOS 26.0 to 26.2**: update before you run a model with three-dimensional convolutions
  (`convolution-3d-before-macos-26.3`): Qwen-Image, Krea 2 and the videos.
- **A virtual machine**: macOS 15; with macOS 26 pictures are wrong (`linear-in-a-virtual-machine`).

`sdperf doctor` says it of the Mac that it runs on."""
_LEGEND: Final = """\

## What is known, by precision

A cell names the worst that is known: *aborts*, *raises*, *wrong* (silently), *cpu* (copied
there and back), *slow*, *differs* (other numbers than elsewhere, no fault). In brackets stands
what only may be: suspected, or on some chips. It holds for macOS {macos}, unless a system is
named.

`sdperf mps-check --model YOURS --torch-version V --macos V --chip NAME` says it of your own
pipeline."""
_MEMORY: Final = """\
## What fits into which memory

Arithmetic, not measurement. *all*: the weights of all networks in that precision, and the
largest single operator's tensors with the newest torch above. *one*: the largest network alone
and the same tensors, where text encoder, denoiser and VAE are loaded one after another and let
go. Usable is what Metal recommends: 21.3 GiB of 32 GB and 48 GiB of 64 GB were reported
(ggml-org/llama.cpp#2011, ggml-org/llama.cpp#1870), so two thirds are taken up to 36 GB and
three quarters above. What is alive beside the largest operator, graphs and other programs come
on top: *fits* has a quarter of it to spare, *tight* fits by the numbers alone.
`torch.mps.recommended_max_memory()` says your Mac's own."""


def format_page(data: dict[str, Any]) -> str:
    """Lay out the page.

    Args:
        data: What `evidence.mps_models.recording` wrote.
    """
    head = _HEAD.format(
        count=len(data["models"]),
        diffusers=data["installed"]["diffusers"],
        limits=data["limits"],
    )
    legend = _LEGEND.format(macos=", ".join(data["macos"]))
    parts = [head.rstrip(), "", *_format_choices(data), _BY_MAC, legend.rstrip()]
    parts += [*_format_matrix(data), *_format_findings(data), *_format_memory(data)]
    return "\n".join(parts) + "\n"


def _format_choices(data: dict[str, Any]) -> Iterator[str]:
    """For each model the newest torch that is not harmful, and the least memory."""
    yield "| model | torch | precision | memory, 16 bits | memory, fp32 | what is left |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for model in data["models"]:
        torch, precisions = choose(data, model)
        newest = data["torch"][-1]
        sizes = []
        for precision in ("fp16", "fp32"):
            working = _run(model, precision, newest)["working_bytes"]
            sizes.append(_least_memory(memory_need(model["weights"], precision, working)))
        left = _left(_run(model, (*precisions, "fp16")[0], torch or newest))
        yield (
            f"| {model['name']} | {torch or 'none'} | {', '.join(precisions) or 'none'} | "
            f"{sizes[0]} | {sizes[1]} | {left} |"
        )


def choose(data: dict[str, Any], model: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Choose the newest torch in which something can be run on every macOS, and its precisions.

    Args:
        data: What was recorded.
        model: One of its models.

    Returns:
        The version, or None where each one is known to do harm, and the precisions that it does
        none to.
    """
    for torch in reversed(data["torch"]):
        sound = tuple(
            precision
            for precision in _PRECISIONS
            if not any(
                _is_sure(each) and each["effect"] in _HARMFUL
                for each in _run(model, precision, torch)["findings"]
            )
        )
        if sound:
            return torch, sound
    return None, ()


def _left(run: dict[str, Any]) -> str:
    """Name what is known of a run besides, the worst first; what is no fault is left out."""
    named = {
        each["id"]: f"{_WORDS[each['effect']]} (`{each['id']}`)"
        for each in sorted(run["findings"], key=_rank)
        if _is_sure(each) and each["effect"] != "differs"
    }
    return ", ".join(named.values()) or "nothing known"


def _least_memory(need: MemoryNeed) -> str:
    for size in MEMORY_GIB:
        if _fits(need, size) != "no":
            return f"{size} GB ({_fits(need, size)})"
    return f"more than {MEMORY_GIB[-1]} GB"


def _format_matrix(data: dict[str, Any]) -> Iterator[str]:
    for precision in _PRECISIONS:
        yield f"\n### {precision}\n"
        yield "| model | " + " | ".join(f"torch {each}" for each in data["torch"]) + " |"
        yield "| --- |" + " --- |" * len(data["torch"])
        for model in data["models"]:
            cells = [
                _cells(_run(model, precision, torch), data["macos"]) for torch in data["torch"]
            ]
            yield f"| {model['name']}, {model['size']} | {' | '.join(cells)} |"


def _cells(run: dict[str, Any], systems: Sequence[str]) -> str:
    """Say it once where all systems are alike."""
    by_system: dict[str, list[str]] = {}
    for macos in systems:
        by_system.setdefault(_cell(run, macos), []).append(macos)
    if len(by_system) == 1:
        return next(iter(by_system))
    return "; ".join(f"macOS {', '.join(where)}: {cell}" for cell, where in by_system.items())


def _cell(run: dict[str, Any], macos: str) -> str:
    here = [each for each in run["findings"] if macos in each["macos"]]
    sure = _worst(each["effect"] for each in here if _is_sure(each))
    doubtful = _worst(each["effect"] for each in here if not _is_sure(each))
    words = [_WORDS[sure]] if sure else []
    if doubtful in _HARMFUL and (sure not in _HARMFUL):
        words.append(f"({_WORDS[doubtful]})")
    return " ".join(words) or "nothing known"


def _format_findings(data: dict[str, Any]) -> Iterator[str]:
    yield "\n## What it is, where, and what to do\n"
    yield "The first place of each is named, as far as the model's own modules go.\n"
    for model in data["models"]:
        yield f"### {model['name']}\n"
        yield "| what | operator | precision | torch | macOS | where | calls | what to do |"
        yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
        yield from _rows(data, model)
        yield ""


def _rows(data: dict[str, Any], model: dict[str, Any]) -> Iterator[str]:
    merged: dict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    for run in model["runs"]:
        for each in run["findings"]:
            merged.setdefault((each["id"], each["operator"]), []).append((run, each))
    worst_first = sorted(
        merged.values(), key=lambda found: (not _is_sure(found[0][1]), _rank(found[0][1]))
    )
    for found in worst_first:
        first = found[0][1]
        systems = sorted({each for _, one in found for each in one["macos"]}, key=float)
        doubt = "" if _is_sure(first) else f" ({first['condition'] or 'suspected'})"
        where = f"`{first['line']}`" + (f" in `{first['module']}`" if first["module"] else "")
        cells = (
            f"**{_WORDS[first['effect']]}**: {escape_markdown(first['title'] + doubt)}",
            f"`{first['operator'].removeprefix('aten::')}`",
            _list(run["precision"] for run, _ in found),
            _all_or_list((run["torch"] for run, _ in found), data["torch"]),
            _all_or_list(systems, data["macos"]),
            where,
            str(max(one["calls"] for _, one in found)),
            escape_markdown(f"{first['remedy']} [{', '.join(first['sources'])}]"),
        )
        yield f"| {' | '.join(cells)} |"


def _format_memory(data: dict[str, Any]) -> Iterator[str]:
    yield _MEMORY + "\n"
    yield (
        "| model | precision | all, GiB | one, GiB | "
        + " | ".join(f"{size} GB" for size in MEMORY_GIB)
        + " |"
    )
    yield "| --- | --- | --- | --- |" + " --- |" * len(MEMORY_GIB)
    newest = data["torch"][-1]
    for model in data["models"]:
        for precision in ("fp16", "fp32"):
            need = memory_need(
                model["weights"], precision, _run(model, precision, newest)["working_bytes"]
            )
            cells = [_fits(need, size) for size in MEMORY_GIB]
            yield (
                f"| {model['name']} | {precision.replace('fp16', 'fp16, bf16')} | "
                f"{need.all_bytes / GIB:.1f} | {need.largest_bytes / GIB:.1f} | "
                f"{' | '.join(cells)} |"
            )


def _fits(need: MemoryNeed, size_gib: int) -> str:
    usable = usable_bytes(size_gib)
    for bytes_needed, how in ((need.all_bytes, "all"), (need.largest_bytes, "one")):
        if bytes_needed * 4 / 3 <= usable:
            return f"fits, {how}"
    for bytes_needed, how in ((need.all_bytes, "all"), (need.largest_bytes, "one")):
        if bytes_needed <= usable:
            return f"tight, {how}"
    return "no"


def _run(model: dict[str, Any], precision: str, torch: str) -> dict[str, Any]:
    (run,) = [
        each for each in model["runs"] if (each["precision"], each["torch"]) == (precision, torch)
    ]
    found: dict[str, Any] = run
    return found


def _is_sure(finding: dict[str, Any]) -> bool:
    return finding["certainty"] == "reported" and not finding["condition"]


def _rank(finding: dict[str, Any]) -> int:
    return _ORDER.index(finding["effect"])


def _worst(effects: Iterable[str]) -> str:
    return min(effects, key=_ORDER.index, default="")


def _list(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words))


def _all_or_list(words: Iterable[str], everything: Sequence[str]) -> str:
    found = list(dict.fromkeys(words))
    return "all" if set(found) == set(everything) else ", ".join(found)
