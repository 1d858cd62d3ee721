"""``sdperf engines``: the installed engines, and the conversions that are kept for them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from sdperf.units import format_bytes, format_quantity, format_seconds

if TYPE_CHECKING:
    from sdperf.engines.conversion import KeptEntry

_LONGEST_MODEL: Final = 16
"""The most characters of a model's name in the list."""

_EPILOG: Final = """\
A conversion is what an engine made of one network of a model: an ONNX file, a Core ML program. It
is found again by the model's hash, precision, size, options and the versions of everything that
made it, and its files are compared with their digests whenever it is loaded. It can be removed at
any time: the next run converts again. SDPERF_CACHE (else XDG_CACHE_HOME) says where they lie.

exit status: 0 done, 2 the folder cannot be read or written

examples:
  sdperf engines list
  sdperf engines clean
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "engines",
        help="list engines and their conversions, or remove the conversions",
        description="List engines and what they converted, or remove that. Loads no torch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("action", choices=("list", "clean"), help="what to do")


def run(arguments: argparse.Namespace) -> int:
    """List or remove the conversions."""
    from sdperf.engines.cache import EngineCache, locate_engine_cache

    cache = EngineCache(locate_engine_cache())
    if arguments.action == "clean":
        freed, kept = cache.clean()
        print(f"{format_bytes(freed)} freed in {cache.folder}")
        for folder in kept:
            print(f"kept, in use: {folder.name}")
        return 0
    _print_engines()
    print()
    for text in cache.list_running():
        print(f"now: {text}")
    entries = cache.list_entries()
    for entry in entries:
        print(_format_entry(entry))
    total = sum(entry.size_bytes for entry in entries)
    print(f"{format_quantity(len(entries), 'conversion')}, {format_bytes(total)} in {cache.folder}")
    return 0


def _print_engines() -> None:
    from sdperf.engines.catalogue import ENGINES, explain_absence, find_version, list_versions

    width = max(map(len, ENGINES))
    for name, choice in ENGINES.items():
        versions = list_versions(choice) or {"torch": find_version("torch") or "unknown"}
        package, version = next(iter(versions.items()))
        absence = explain_absence(choice, "cpu")
        missing = "" if absence is None else absence.rpartition(": ")[2]
        state = f"not installed: {missing}" if missing else f"{package} {version}"
        print(f"{name:<{width}}  {state}")


def _format_entry(entry: KeptEntry) -> str:
    size, manifest = format_bytes(entry.size_bytes), entry.manifest
    name = f"{entry.folder.name:<36} {size:>9}"
    used = ", in use" if entry.is_used else ""
    if manifest is None:
        return f"{name}  unfinished{used}"
    model = manifest.model.rstrip("/").rpartition("/")[2][:_LONGEST_MODEL]
    what = f"{model} {manifest.precision} {manifest.width}x{manifest.height}"
    took = f"{format_seconds(manifest.conversion_s)}, {manifest.converted_at[:10]}"
    return f"{name}  {what}  {took}{used}"
