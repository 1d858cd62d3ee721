"""Builds the documentation as a site: ``make site``.

    python -m tools.site                 pages to build/site; warnings are errors
    python -m tools.site --links         also follow each link to another host
    python -m tools.site --damage        see that each check fails on a page that is damaged

Checked besides what Sphinx warns of (a link or an anchor that leads nowhere, a page that no list
names): no page has a directive or a link that leads out of the repository, none loads anything from
another host, and search knows every page.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tools.site.foreign import find_foreign, find_in_script, find_in_style
from tools.site.staging import stage
from tools.site.unfit import find_unfit

ROOT: Final = Path(__file__).resolve().parents[2]
DAMAGES: Final = {
    "nothing": "",
    "a link to no page": "[gone](gone.md)",
    "a link to no part of a page": "[gone](options.md#no-such-part)",
    "a picture that is not there": "![gone](images/gone.png)",
    "a directive": "```{include} ../pyproject.toml\n```",
    "a file outside of the repository": "[out](../../outside.txt)",
    "a script from elsewhere": '<script src="https://example.org/count.js"></script>',
    "a picture that a script fetches": "<script>new Image().src = '//example.org/a'</script>",
    "a font from elsewhere": "<style>@import url(//example.org/font.css);</style>",
}
"""What is put at the end of a page, one after the other, and has to be found; but for nothing."""


_LOOKS: Final[tuple[tuple[str, Callable[[str], list[str]]], ...]] = (
    ("*.html", find_foreign),
    ("*.svg", find_foreign),
    ("*.css", find_in_style),
    ("*.js", find_in_script),
)
"""What is looked into of the site, and how."""


def build(root: Path, folder: Path, builder: str = "html", *, damage: str = "") -> list[str]:
    """Build the site of a repository.

    Args:
        root: The repository.
        folder: Where ``source`` and the builder's own folder go.
        builder: Of Sphinx.
        damage: What is put at the end of a page.

    Returns:
        What is wrong; nothing where all is well.
    """
    source, out = folder / "source", folder / builder
    pages = stage(root, source)
    with (source / "docs" / "verdicts.md").open("a", encoding="utf-8") as page:
        page.write(f"\n{damage}\n" if damage else "")
    unfit = [one for name in pages for one in find_unfit(name, _read(source / name))]
    if unfit:
        return unfit
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-b", builder, "--fail-on-warning", "--keep-going"),
            *("--fresh-env", "--quiet", "--color" if sys.stderr.isatty() else "--no-color"),
            *("-c", str(Path(__file__).parent), "-d", str(folder / "doctrees")),
            *(str(source), str(out)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    faults = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode == 0:
        faults = list(check_pages(out, pages)) if builder == "html" else []
    return faults or ([f"Sphinx ended with {done.returncode}"] if done.returncode else [])


def check_pages(out: Path, pages: list[str]) -> Iterator[str]:
    """Find what Sphinx does not warn of: what is loaded from elsewhere, pages that search lacks."""
    for pattern, find in _LOOKS:
        for path in sorted(out.rglob(pattern)):
            for address in find(_read(path)):
                yield f"{path.relative_to(out)} loads {address}"
    index = _read(out / "searchindex.js")
    for page in pages:
        if f'"{page.rpartition(".")[0]}"' not in index:
            yield f"search does not know {page}"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def try_damages(root: Path) -> list[str]:
    """Build the pages with each damage; return the damages that are answered wrongly."""
    wrong = []
    for damage, text in DAMAGES.items():
        with tempfile.TemporaryDirectory(prefix="sdperf-site-") as name:
            faults = build(root, Path(name).resolve(), damage=text)
            if bool(faults) != bool(text):
                wrong.append(damage)
            print(f"{damage}: {faults[0] if faults else 'no fault'}", flush=True)
    print(f"{len(wrong)} of {len(DAMAGES)} were answered wrongly")
    return wrong


def main() -> int:
    """Build, check, say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--links", action="store_true", help="follow links to other hosts")
    parser.add_argument("--damage", action="store_true", help="try that the checks can fail")
    given = parser.parse_args()
    if given.damage:
        return 1 if try_damages(ROOT) else 0
    faults = build(ROOT, given.out)
    if not faults and given.links:
        faults = build(ROOT, given.out, "linkcheck")
    for fault in faults:
        print(fault)
    if not faults:
        print(f"{given.out / 'html' / 'index.html'}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
