"""``sdperf contribute``: makes an anonymous result to hand on, and fills the table of results."""

from __future__ import annotations

import argparse
import getpass
import platform
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sdperf.cli.shared.output import check_output_file, print_lines
from sdperf.errors import ConfigurationError, RecordError
from sdperf.outputs import Output, check_outputs
from sdperf.report.text.contributions import (
    LEFT_OUT,
    TABLE_BEGIN,
    describe_contribution,
    format_table,
    replace_table,
)
from sdperf.report.text.lines import Line
from sdperf.store.contribution.anonymity import Identity
from sdperf.store.contribution.contribution import (
    MOST_BYTES,
    Contribution,
    build_contribution,
    format_contribution,
    name_file,
    parse_contribution,
)
from sdperf.store.files import write_atomically
from sdperf.store.last_run import LAST_RUN, find_last_run
from sdperf.store.runs import read_run

DEFAULT_TABLE: Final = Path("docs/results/machines/README.md")

_EPILOG: Final = """\
The file is plain JSON: read it before you send it. It is never overwritten.

exit status: 0 written, 2 refused

examples:
  sdperf contribute                          the last run of pytest benchmarks
  sdperf contribute run.json -o my-m4.json
  sdperf contribute --add my-m4.json         (maintainers) check it, file it, fill the table
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "contribute",
        help="make a result file that names nobody",
        description="Take the figures of a saved run, without anything that names a person,\n"
        "a machine or a place; or add such files to the table of machines. Loads no torch.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help=f"a saved run (the last one, {LAST_RUN}); with --add: bundles",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="PATH",
        help="where to write (named after machine and content)",
    )  # fmt: skip
    parser.add_argument("--add", action="store_true", help="file bundles and fill the table")
    parser.add_argument(
        "--table",
        type=Path,
        default=DEFAULT_TABLE,
        metavar="PAGE",
        help=f"with --add: the page, beside which the bundles lie ({DEFAULT_TABLE})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Make a bundle, or add bundles to the table."""
    if arguments.add:
        _add(arguments.files, arguments.table)
        return 0
    if len(arguments.files) > 1:
        raise ConfigurationError(
            "one run makes one bundle", got=f"{len(arguments.files)} files", expected="one"
        )
    path = arguments.files[0] if arguments.files else find_last_run("sdperf contribute")
    _make(path, arguments.output)
    return 0


def find_identity(*others: object) -> Identity:
    """Collect the names of this machine and its user, and other known names."""
    named = [
        *others,
        platform.node(),
        platform.node().partition(".")[0],
        Path.home().name,
    ]
    try:
        named.append(getpass.getuser())
    except (KeyError, OSError):
        named.append(None)
    return Identity(tuple(sorted({str(name) for name in named if name} - {"root", "localhost"})))


def _make(path: Path, output: Path | None) -> None:
    saved = read_run(path)
    contribution = build_contribution(saved)
    info = saved.document.get("machine_info")
    node = info.get("node") if isinstance(info, dict) else None
    content = format_contribution(contribution, find_identity(node))
    parse_contribution(content)
    target = output or Path(f"sdperf-{name_file(contribution, content)}")
    check_output_file("-o", target, MOST_BYTES, "nothing was written")
    if target.exists():
        raise ConfigurationError(
            f"{target} is there already", hint="give -o another name, or remove it"
        )
    try:
        write_atomically(target, content)
    except OSError as error:
        raise ConfigurationError(
            f"-o: {target} cannot be written",
            got=error.strerror,
            hint="choose another place, or free some space",
        ) from error
    print_lines(describe_contribution(contribution))
    print_lines(
        [
            Line(""),
            Line("what it does not say", bold=True),
            *(Line(f"  {part.strip()}") for part in LEFT_OUT.split(";")),
            Line(""),
            Line(f"written: {target} ({len(content)} bytes)", "green"),
            Line("read it, then attach it to an issue or a pull request of sdperf"),
        ]
    )


def _add(files: list[Path], table: Path) -> None:
    if not files:
        raise ConfigurationError("--add needs bundles", hint="sdperf contribute --add BUNDLE.json")
    if not table.is_file():
        raise ConfigurationError(f"{table} is not there", hint="--table PAGE, with the two marks")
    received = [read_bundle(path) for path in files]
    added = {name_file(one, content): one for one, content in received}
    page = fill_page(table, added)  # refused before anything is filed
    check_outputs(
        [
            Output("--table", table.absolute()),
            Output("--add", table.absolute().parent, is_folder=True),
        ],
        least_free_bytes=MOST_BYTES,
        undone="nothing was written",
    )
    lines, filed = [], []
    try:
        for path, (contribution, content) in zip(files, received, strict=True):
            target = table.parent / name_file(contribution, content)
            if target.exists():
                lines.append(Line(f"{path} is there already: {target.name}", "yellow"))
                continue
            filed.append(target)
            write_atomically(target, content)
            lines.append(Line(f"added: {target}", "green"))
        write_atomically(table, page.encode())
    except OSError as error:
        for target in filed:
            target.unlink(missing_ok=True)
        raise ConfigurationError(
            "the bundles cannot be filed",
            got=f"{error.filename or table.parent}: {error.strerror}",
            expected="a folder that can be written and has room",
            hint="nothing was filed; free some space, or name another page: --table PAGE",
        ) from error
    print_lines([*lines, Line(f"filled: {table}")])


def read_bundle(path: Path) -> tuple[Contribution, bytes]:
    """Read and check one bundle.

    Raises:
        RecordError: The bundle cannot be read, or cannot be true.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        return parse_contribution(content), content
    except OSError as error:
        raise RecordError(f"{path} cannot be read", got=error.strerror) from error
    except RecordError as error:
        raise RecordError(f"{path} is not taken: {error.what}", got=error.got) from error


def fill_page(table: Path, added: Mapping[str, Contribution] = MappingProxyType({})) -> str:
    """Make the page with the table of all bundles beside it and of the added ones.

    Args:
        table: The page.
        added: The bundles to add, by the names of their files.

    Raises:
        RecordError: A bundle beside it is damaged.
        ConfigurationError: The page has no place for a table.
    """
    bundles = {path.name: read_bundle(path)[0] for path in sorted(table.parent.glob("*.json"))}
    listed = dict(sorted({**added, **bundles}.items()))
    page = replace_table(table.read_text(encoding="utf-8"), format_table(listed))
    if page is None:
        raise ConfigurationError(f"{table} has no place for the table", expected=TABLE_BEGIN)
    return page
