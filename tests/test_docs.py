"""Every page of the documentation can be found, and every link in it leads somewhere."""

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.glob("*.md") if page.name != "README.md")
LINKING = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
_STATUSES = re.compile(r"[Ee]xit status(?:es)?(?: is|:)? [0-9]|exit status [|]")
_LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def broken_links(text, folder):
    """Return the relative links of a page that name no file or folder."""
    links = (link.strip("<>") for link in _LINK.findall(text))
    targets = (link for link in links if ":" not in link)
    return [target for target in targets if not (folder / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_page_stands_behind_one_of_the_four_doors(page):
    doors = (DOCS / "README.md").read_text(encoding="utf-8")
    assert f"({page.name})" in doors, f"docs/README.md does not name {page.name}"


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page):
    assert broken_links(page.read_text(encoding="utf-8"), page.parent) == []


_OWN_INSTALLS = re.compile(r"pip install[^`\n]* (?:--editable )?'?\.(?=[\['`\s]|$)[^`\n]*")


def find_replacing_installs(text):
    """Return the installs of this checkout that put a copy in its place."""
    return [one for one in _OWN_INSTALLS.findall(text) if "--editable" not in one]


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_install_of_this_checkout_replaces_an_editable_one(page):
    assert find_replacing_installs(page.read_text(encoding="utf-8")) == []


def test_an_install_that_replaces_an_editable_one_is_found():
    replacing = "pip install --constraint constraints.txt '.[report,tune]'"
    text = f"`{replacing}` or `pip install .`\npip install --editable '.[tune]'\npip install 'a.b'"
    assert find_replacing_installs(text) == [replacing, "pip install ."]


def unlinked(results, pages):
    """Return the entries of a folder that no page links to, neither to them nor into them."""
    linked = {
        target
        for page in pages
        for link in _LINK.findall(page.read_text(encoding="utf-8"))
        for target in [(page.parent / link).resolve()]
        if target != page.resolve()
    }
    linked |= {parent for target in linked for parent in target.parents}
    return sorted(one.name for one in results.iterdir() if one.resolve() not in linked)


def test_each_result_is_behind_a_page():
    assert unlinked(DOCS / "results", DOCS.rglob("*.md")) == []


def test_a_result_without_a_page_is_found(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("{}")
    page = tmp_path / "page.md"
    page.write_text("[data](a.json) and [this page](page.md)")
    assert unlinked(tmp_path, [page]) == ["b.json", "page.md"]


def test_a_broken_link_is_found(tmp_path):
    (tmp_path / "there.md").write_text("")
    text = "[a](there.md#part) [b](gone.md) [c](https://example.org/x)"
    assert broken_links(text, tmp_path) == ["gone.md"]


def test_exit_statuses_are_told_in_one_page():
    telling = [page.name for page in PAGES if _STATUSES.search(page.read_text(encoding="utf-8"))]
    assert telling == ["commands.md", "external.md"], "what --help says, and a program's own"


@pytest.mark.parametrize("text", ["Exit status: 0 a winner", "| exit status | meaning |"])
def test_exit_statuses_told_elsewhere_are_found(text):
    assert _STATUSES.search(text)


def run_examples(text):
    """Run the ``>>>`` examples of a page, and return how many were run and how many failed."""
    unfenced = re.sub(r"(?m)^```.*$", "", text)
    page = doctest.DocTestParser().get_doctest(unfenced, {}, "page", None, 0)
    said = []
    return doctest.DocTestRunner(verbose=False).run(page, out=said.append), "".join(said)


EXAMPLE = (DOCS / "worked-example.md").read_text(encoding="utf-8")


def test_the_worked_example_says_what_the_code_computes():
    counts, said = run_examples(EXAMPLE)
    assert counts.attempted > 15
    assert counts.failed == 0, said


def test_a_wrong_number_of_the_worked_example_is_found():
    wrong = EXAMPLE.replace("'+6.6 %'", "'+6.5 %'")
    assert wrong != EXAMPLE
    assert run_examples(wrong)[0].failed == 1
