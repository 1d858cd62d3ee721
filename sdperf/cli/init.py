"""``sdperf init``: put the suite, its settings and workflows into the user's repository."""

from __future__ import annotations

import argparse
import difflib
import errno
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdperf import __version__
from sdperf.cli.shared.output import print_texts
from sdperf.errors import ConfigurationError
from sdperf.scaffold.lines import split_lines
from sdperf.units import format_quantity

if TYPE_CHECKING:
    from sdperf.scaffold.plan import PlannedFile, Wanted

_EPILOG: Final = """\
It shows what it would write, and asks before it does (--yes writes at once). It overwrites nothing:
files that exist stay, and settings and ignored folders are added as lines. --upgrade brings the
files that an earlier sdperf init wrote up to date, but for those that were edited since.

Nothing has to be copied to try the suite: pytest --pyargs sdperf.suite

exit status: 0 done or nothing to do, 1 nothing was written, 2 it cannot be done

examples:
  sdperf init                                       the suite, asking what it is to measure
  sdperf init --subject new --yes                   ... with a file for a pipeline of your own
  sdperf init --model ./my-finetune --workflow mac  ... and a workflow for a Mac of your own
  sdperf init --upgrade
"""

_LARGEST_BYTES: Final = 2**20
"""The most bytes of a file that is changed; files of settings and ignored names are smaller."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "init",
        help="put the suite into a repository of your own",
        description="Put the suite, its settings and workflows into a repository of your own.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="(this folder)"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="what to measure: a folder or a hub id (embedded)"
    )
    parser.add_argument(
        "--subject",
        metavar="MODULE:FUNCTION",
        help="your own code under test; new begins benchmarks/pipeline.py",
    )
    parser.add_argument(
        "--workflow",
        action="append",
        choices=("mac", "gpu", "hosted"),
        help="a GitHub workflow: a Mac of your own, a machine of your own with an NVIDIA GPU, or "
        "GitHub's machines (pictures only); may be typed several times",
    )
    parser.add_argument(
        "--requirement",
        metavar="TEXT",
        help="what pip installs in a workflow (sdperf[report] of this version); a wheel's path "
        "or address will do",
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing, write")
    parser.add_argument(
        "--upgrade", action="store_true", help="bring files of an earlier sdperf init up to date"
    )


def run(arguments: argparse.Namespace) -> int:
    """Plan, show, ask, write."""
    from sdperf.scaffold.plan import plan_scaffold

    root = arguments.folder
    if not root.is_dir():
        raise ConfigurationError(
            "there is no such folder", got=str(root), hint="name the top of your repository"
        )
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not arguments.yes
    wanted = _collect_wanted(arguments, asks)
    planned = plan_scaffold(_read_existing(root), wanted, __version__)
    written = [one for one in planned if one.is_written]
    print_texts([f"in {root.resolve()}:", *_show(planned)])
    if not written:
        print("nothing to do")
        return 0
    if not arguments.yes and not (asks and _ask("write these? [Y/n] ").lower() in ("", "y", "yes")):
        print("nothing was written" + ("" if asks else "; do: type it again with --yes"))
        return 1
    _write(root, written)
    print_texts([f"wrote {format_quantity(len(written), 'file')}", "", *_list_next(wanted)])
    return 0


def _collect_wanted(arguments: argparse.Namespace, asks: bool) -> Wanted:
    from sdperf.scaffold.plan import WORKFLOWS, Wanted

    model, subject, workflows = arguments.model, arguments.subject, arguments.workflow or []
    if arguments.upgrade and (model or subject or workflows):
        raise ConfigurationError(
            "--upgrade adds nothing new",
            got="--upgrade beside --model, --subject or --workflow",
            hint="type sdperf init --upgrade, and then sdperf init with the others",
        )
    if asks and not arguments.upgrade:
        model = model or _ask("model to measure: a folder or a hub id [embedded] ") or None
        subject = subject or _ask("your own code, MODULE:FUNCTION, or new [none] ") or None
        if not workflows:
            typed = _ask(f"workflows, of {', '.join(WORKFLOWS)} [none] ")
            workflows = typed.replace(",", " ").split()
    unknown = [one for one in workflows if one not in WORKFLOWS]
    if unknown:
        raise ConfigurationError(
            "there is no such workflow", got=unknown[0], expected=", ".join(WORKFLOWS)
        )
    if subject is not None and subject != "new" and not _names_function(subject):
        raise ConfigurationError(
            "--subject cannot be used",
            got=subject,
            expected="MODULE:FUNCTION such as my_package.pipelines:fast, or new",
        )
    for name, value in (("--model", model), ("--requirement", arguments.requirement)):
        if value is not None and not (value.strip() and value.isprintable()):
            raise ConfigurationError(f"{name} cannot be used", got=ascii(value))
    if model is not None and model.startswith((".", "/", "~")):
        folder = Path(model).expanduser()
        if not folder.exists():
            raise ConfigurationError(
                "--model names a folder that is not there",
                got=model,
                expected="a folder that is there, or a hub id such as stabilityai/sd-turbo",
                hint="ls; or leave --model out, for the embedded model",
            )
    requirement = arguments.requirement or f"sdperf[report]=={__version__}"
    if "'" in requirement:
        raise ConfigurationError("--requirement cannot be used", got=requirement, expected="no '")
    return Wanted(model, subject, tuple(workflows), requirement, arguments.upgrade)


def _names_function(subject: str) -> bool:
    module, separator, function = subject.partition(":")
    parts = (*module.split("."), function)
    return bool(separator) and all(one.isidentifier() for one in parts)


def _ask(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        print()
        raise ConfigurationError(
            "the answer is missing", got="the end of the input", hint="sdperf init --yes"
        ) from None


def _read_existing(root: Path) -> dict[str, str]:
    from sdperf.scaffold.plan import list_read_paths

    existing = {}
    for name in [one for one in list_read_paths() if _is_there(root, one)]:
        path = root / name
        try:
            with path.open(encoding="utf-8", newline="") as file:
                existing[name] = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read", got=str(error)) from error
    return existing


def _is_there(root: Path, name: str) -> bool:
    """Tell whether a file exists; refuse other kinds of entries, and files that are too large."""
    path = root / name
    _resolve_inside(root, name)
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _make_loop_error(path) from error
        raise ConfigurationError(f"{path} cannot be read", got=error.strerror) from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, a pipe or a socket"
        raise ConfigurationError(
            f"{path} is no file", got=kind, hint="move it away and type sdperf init again"
        )
    if status.st_size > _LARGEST_BYTES:
        raise ConfigurationError(
            f"{path} is too large to add lines to",
            got=f"{status.st_size} bytes",
            expected=f"at most {_LARGEST_BYTES}",
        )
    return True


def _make_loop_error(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} leads nowhere",
        got="links that lead to each other",
        hint="remove one of them and type sdperf init again",
    )


def _resolve_inside(root: Path, name: str) -> Path:
    """Return the place that a path of the repository leads to; links inside it are followed."""
    try:
        resolved = (root / name).resolve()
    except (OSError, RuntimeError) as error:  # Python 3.12 and earlier name a loop so
        raise _make_loop_error(root / name) from error
    if not resolved.is_relative_to(root.resolve()):
        raise ConfigurationError(f"{name} leads out of the repository", got=str(resolved))
    return resolved


def _show(planned: Sequence[PlannedFile]) -> list[str]:
    width = max(len(one.path) for one in planned)
    lines = []
    for one in planned:
        if one.after is None:
            word = "without" if one.before is None else "keep"
            lines.append(f"  {word:7} {one.path:{width}}  {one.note}")
        elif one.before is None:
            length = format_quantity(len(split_lines(one.after)), "line")
            lines.append(f"  new     {one.path:{width}}  {length}")
        else:
            lines.append(f"  change  {one.path:{width}}")
            difference = difflib.unified_diff(
                split_lines(one.before), split_lines(one.after), n=1, lineterm=""
            )
            lines += [f"          {_spell_line(line)}" for line in list(difference)[2:]]
    return lines


def _spell_line(line: str) -> str:
    """Return a line of a difference with invisible characters written as escapes."""
    shown = "".join(
        one if one.isprintable() or one == "\t" else one.encode("unicode_escape").decode()
        for one in line.removesuffix("\n")
    )
    is_whole = line.endswith("\n") or line.startswith("@@")
    return shown if is_whole else f"{shown}  (no line end)"


def _write(root: Path, planned: Sequence[PlannedFile]) -> None:
    from sdperf.store.files import write_atomically

    for one in planned:
        assert one.after is not None
        path = root / one.path
        try:
            target = _resolve_inside(root, one.path)
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
            write_atomically(target, one.after.encode(), mode=mode)
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written",
                got=error.strerror,
                hint="make it writable and type sdperf init again: what was written stays",
            ) from error


def _list_next(wanted: Wanted) -> list[str]:
    lines = [
        "next:",
        "  sdperf doctor                             # is this machine fit to be measured?",
        "  pytest benchmarks --benchmark-autosave    # measure, and keep the run",
        "  pytest benchmarks --benchmark-compare     # ... after a change",
    ]
    if wanted.workflows:
        lines.append("  commit .github/workflows, and read the first lines of each file there")
    return lines
