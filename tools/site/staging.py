"""Lays the pages out for Sphinx: the repository's own tree, with an index of the four doors."""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

DOORS_PAGE: Final = "docs/README.md"
TOP_PAGES: Final = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
OTHER_PAGES: Final = (
    "sdperf/models/embedded/README.md",
    "evidence/README.md",
    "evidence/train_embedded_model/README.md",
)
"""Pages beside what they are about."""

BEGIN: Final = ("README.md", "docs/tutorial.md", "docs/pictures.md", "docs/glossary.md")
"""Pages that come before the four doors."""

END: Final = ("CHANGELOG.md", "SECURITY.md", DOORS_PAGE, "docs/results/index.rst", *OTHER_PAGES)
_TITLES: Final = {"README.md": "Overview", DOORS_PAGE: "By what you want to do"}
"""Titles in lists, of pages whose own says too little there."""

LISTED_FOLDERS: Final = {"docs/decisions": "Decisions", "docs/results": "All results"}
"""Folders whose pages are listed on a page that is made here, with its title."""

_LINK: Final = re.compile(r"(\]\(<?)([^)\s#<>]+)((?:#[^)\s<>]*)?>?\))")
_HEADING: Final = re.compile(r"^## (?:\d+\. )?(.+)$")


@dataclass(frozen=True)
class Door:
    """A group of pages.

    Attributes:
        title: Its title.
        pages: Paths of its pages from the repository's root, with ``/``, in order.
    """

    title: str
    pages: tuple[str, ...]


def list_doors(text: str, folder: str = "docs") -> list[Door]:
    """Read the doors of the page that lists them; each page stands behind the first that names it.

    Args:
        text: The page, in Markdown.
        folder: Where it lies.
    """
    doors: list[Door] = []
    seen: set[str] = set(BEGIN) | set(END)
    for part in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        title = _HEADING.match(heading)
        pages = []
        for _, target, _ in _LINK.findall(body):
            page = resolve(target, folder)
            page = f"{page}/index.rst" if page in LISTED_FOLDERS else page
            if page is not None and page.endswith((".md", ".rst")) and page not in seen:
                seen.add(page)
                pages.append(page)
        doors.append(Door(title.group(1) if title else heading, tuple(pages)))
    return doors


def resolve(target: str, folder: str) -> str | None:
    """Return where a link leads, from the root; ``None`` for what is not within it.

    >>> resolve("../README.md", "docs"), resolve("https://example.org", "docs")
    ('README.md', None)
    """
    if ":" in target or target.startswith("/"):
        return None
    parts: list[str] = []
    for part in PurePosixPath(folder, target).parts:
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)


def find_anchors(page: str, text: str) -> dict[str, str]:
    """Return which heading each anchor of a page stands before.

    GitHub keeps ``<a id="part"></a>``; Sphinx knows headings only.

    Returns:
        ``page#heading`` by ``page#part``.
    """
    found = re.finditer(r'^<a id="([^"]+)"></a>\n+#+ (.+)$', text, re.MULTILINE)
    return {f"{page}#{one.group(1)}": f"{page}#{name_heading(one.group(2))}" for one in found}


def name_heading(title: str) -> str:
    """Return the anchor of a heading, as GitHub makes it.

    >>> name_heading("A night: what did `each` do?")
    'a-night-what-did-each-do'
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def lead_links(text: str, folder: str, to: Mapping[str, str]) -> str:
    """Let links lead to the pages that are made for what is no page, and to headings.

    Args:
        text: The page, in Markdown.
        folder: Where it lies.
        to: Where a link leads instead, by where it leads; both from the root.
    """

    def rename(found: re.Match[str]) -> str:
        before, target, after = found.groups()
        part = after.rstrip(">)")
        path = resolve(target, folder)
        new = to.get(f"{path}{part}") or to.get(path or "")
        if new is None:
            return found.group()
        place, _, heading = new.partition("#")
        end = after[len(part) :]
        shown = target if place == path else posixpath.relpath(place, folder)
        return f"{before}{shown}{'#' if heading else ''}{heading}{end}"

    return _LINK.sub(rename, text)


def find_targets(text: str) -> list[str]:
    """Return where the links of a page lead that are followed here, without parts of pages."""
    return [target for _, target, _ in _LINK.findall(text)]


def add_title(text: str, name: str) -> str:
    """Give a page its file's name as a title where it has none: a list shows titles."""
    return text if re.match(r"# \S", text) else f"# {name}\n\n{text}"


def list_linked_files(text: str, folder: str) -> Iterator[str]:
    """Return the files beside pages that a page links to or shows, from the root."""
    for target in find_targets(text):
        path = resolve(target, folder)
        if path is not None and not path.endswith((".md", ".rst")) and path not in LISTED_FOLDERS:
            yield path


def format_index(doors: Sequence[Door]) -> str:
    """Return the first page: what it is, and the doors; reStructuredText."""
    intro = (
        "One pytest run tells whether a change made image generation slower, hungrier or uglier.\n"
        "The first run needs no download: a small, really trained pipeline ships inside."
    )
    picture = (
        ".. image:: docs/images/contact-sheet.png\n"
        "   :alt: Prompts and what the embedded model drew, one seed each"
    )
    groups = [Door("Begin", BEGIN), *doors, Door("The project", END)]
    parts = ["sdperf\n======", intro, picture, *map(format_toctree, groups)]
    return "\n\n".join(parts) + "\n"


def format_toctree(door: Door) -> str:
    """Return a captioned list of pages."""
    names = "\n".join(f"   {_name_entry(page)}" for page in door.pages)
    return f".. toctree::\n   :caption: {door.title}\n   :maxdepth: 1\n\n{names}"


def _name_entry(page: str) -> str:
    name = page.rpartition(".")[0]
    title = _TITLES.get(page)
    return name if title is None else f"{title} <{name}>"


def format_listing(title: str, pages: Sequence[str]) -> str:
    """Return the page that lists a folder's pages."""
    names = "\n".join(f"   {page.rpartition('.')[0]}" for page in pages)
    return f"{title}\n{'=' * len(title)}\n\n.. toctree::\n   :maxdepth: 1\n\n{names}\n"


def stage(root: Path, out: Path) -> list[str]:
    """Write the tree that Sphinx reads; what was there before goes.

    Args:
        root: The repository.
        out: A folder of this tool's own.

    Returns:
        The pages, from the root.
    """
    if out.exists():
        shutil.rmtree(out)
    pages = [
        *TOP_PAGES,
        *OTHER_PAGES,
        *sorted(path.relative_to(root).as_posix() for path in (root / "docs").rglob("*.md")),
    ]
    pages = [page for page in pages if _is_within(root, page)]
    texts = {page: (root / page).read_text(encoding="utf-8") for page in pages}
    to = {folder: f"{folder}/index.rst" for folder in LISTED_FOLDERS}
    for page, text in texts.items():
        to |= find_anchors(page, text)
        for linked in list_linked_files(text, PurePosixPath(page).parent.as_posix()):
            if not _is_within(root, linked):
                continue  # a link that leads nowhere, which Sphinx warns of
            if (root / linked).is_file():
                _copy(root / linked, out / linked)
            elif (root / linked).is_dir() and linked not in to:
                to[linked] = _lay_folder(root, out, linked, pages)
    for page, text in texts.items():
        led = lead_links(text, PurePosixPath(page).parent.as_posix(), to)
        _write(out / page, add_title(led, PurePosixPath(page).stem))
    doors = list_doors((root / DOORS_PAGE).read_text(encoding="utf-8"))
    _write(out / "index.rst", format_index(doors))
    for folder, title in LISTED_FOLDERS.items():
        named = {page for door in doors for page in door.pages}
        inside = [
            page.removeprefix(f"{folder}/")
            for page in pages
            if page.startswith(f"{folder}/") and page not in named
        ]
        _write(out / folder / "index.rst", format_listing(title, inside))
    return pages


def _lay_folder(root: Path, out: Path, folder: str, pages: Sequence[str]) -> str:
    """Return the page of a linked folder; where it has none, make one that offers its files."""
    if f"{folder}/README.md" in pages:
        return f"{folder}/README.md"
    names = sorted(
        path.name
        for path in (root / folder).iterdir()
        if path.is_file() and _is_within(root, f"{folder}/{path.name}")
    )
    for name in names:
        if not name.endswith(".md"):  # a page
            _copy(root / folder / name, out / folder / name)
    title = PurePosixPath(folder).name
    files = "\n".join(
        f"- :doc:`{name.removesuffix('.md')}`" if name.endswith(".md") else f"- :download:`{name}`"
        for name in names
    )
    _write(out / folder / "index.rst", f":orphan:\n\n{title}\n{'=' * len(title)}\n\n{files}\n")
    return f"{folder}/index.rst"


def _is_within(root: Path, path: str) -> bool:
    """Tell whether a path leads to something in the repository, through links of the disk too."""
    return (root / path).resolve().is_relative_to(root.resolve())


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
