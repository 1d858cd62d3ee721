"""The pages as a site: what of it needs no Sphinx. `make site` builds and checks the whole."""

from pathlib import Path

import pytest

from tools.commands_page import PAGE, format_page
from tools.site.__main__ import check_pages
from tools.site.foreign import find_foreign, find_in_style
from tools.site.staging import (
    BEGIN,
    END,
    LISTED_FOLDERS,
    OTHER_PAGES,
    TOP_PAGES,
    add_title,
    find_anchors,
    lead_links,
    list_doors,
    resolve,
    stage,
)
from tools.site.unfit import find_unfit

ROOT = Path(__file__).parents[2]
DOORS = """\
# Doors

## 1. Measure: how long?

1. [A](a.md): words, [the top](../README.md).
2. [Elsewhere](https://example.org/b.md), [a file](c.json), [the words](glossary.md).

## 2. Judge

1. [A again](a.md#part); [D](<d.md>)
2. [All](decisions/)
"""


def test_the_page_of_the_commands_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == format_page(), "python -m tools.commands_page"


def test_each_page_stands_once_behind_the_first_door_that_names_it():
    measure, judge = list_doors(DOORS)
    assert (measure.title, measure.pages) == ("Measure: how long?", ("docs/a.md",))
    assert judge.pages == ("docs/d.md", "docs/decisions/index.rst")


def test_links_to_a_folder_lead_to_its_list_and_others_stay():
    text = "[a](decisions/) [b](decisions/0001-x.md) [c](https://decisions/) [d](../docs/decisions)"
    assert lead_links(text, "docs", {"docs/decisions": "docs/decisions/index.rst"}) == (
        "[a](decisions/index.rst) [b](decisions/0001-x.md) [c](https://decisions/) "
        "[d](decisions/index.rst)"
    )


def test_links_to_an_anchor_lead_to_the_heading_behind_it():
    page = '<a id="night"></a>\n\n### A night: what?\n\n<a id="lost"></a>\n\nwords\n'
    anchors = find_anchors("docs/mac.md", page)
    assert anchors == {"docs/mac.md#night": "docs/mac.md#a-night-what"}
    text = "[a](mac.md#night) [b](mac.md#lost) [c](mac.md) [d](<../docs/mac.md#night>)"
    assert lead_links(text, "docs", anchors) == (
        "[a](mac.md#a-night-what) [b](mac.md#lost) [c](mac.md) [d](<../docs/mac.md#a-night-what>)"
    )


def test_the_whole_tree_is_laid_out_and_every_page_is_in_a_list(tmp_path):
    out = tmp_path / "source"
    out.mkdir()
    (out / "of-before.md").touch()
    pages = stage(ROOT, out)
    assert not (out / "of-before.md").exists()
    assert {"README.md", "docs/verdicts.md", "docs/decisions/0014-bars-share-the-error.md"} <= set(
        pages
    )
    listed = "\n".join(path.read_text() for path in out.rglob("*.rst"))
    for page in pages:
        name = page.rpartition(".")[0]
        inside = name.removeprefix("docs/results/").removeprefix("docs/decisions/")
        assert f"   {name}\n" in listed or f" <{name}>\n" in listed or f"   {inside}\n" in listed, (
            page
        )
    assert (out / "docs" / "images" / "report.png").is_file()
    assert (out / "NOTICE").is_file()
    made = (out / "docs/results/external-mflux/index.rst").read_text()
    assert "- :download:`comparison.json`\n- :doc:`comparison`\n" in made
    assert not list((out / "sdperf").rglob("*.py"))


def test_what_begins_and_ends_exists():
    made = {f"{folder}/index.rst" for folder in LISTED_FOLDERS}
    assert all((ROOT / page).is_file() for page in {*BEGIN, *END} - made)


def test_a_page_without_a_title_gets_its_name():
    assert add_title("# There\n", "name") == "# There\n"
    assert add_title("words\n\n# Later\n", "name") == "# name\n\nwords\n\n# Later\n"


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://example.org/count.js"></script>',
        "<script async src=//example.org/count.js></script>",
        '<link rel="stylesheet" href="https://fonts.example.org/css?family=A">',
        '<link rel="preconnect" href="https://fonts.example.org">',
        '<img alt="" src="HTTPS://example.org/badge.svg">',
        '<meta http-equiv="refresh" content="0;url=https://example.org/?a=b">',
        '<img src="https://example.org/a.png" src="a.png">',
        '<img src="a.png" src="https://example.org/a.png">',
        '<img src="http://www.w3.org/track">',
        '<img srcset="https://example.org/a.png 2x">',
        "<iframe src='http://example.org'></iframe>",
        "<style>@import url(//example.org/font.css);</style>",
        "<style>@font-face{src:url('https://example.org/a.woff2')}</style>",
        '<p style="background:url(https://example.org/a.png)">',
        r'<img src="\\example.org/a.png">',
        r'<img src="/\example.org/a.png">',
        '<img src="ht\ntps://example.org/a.png">',
        '<img src="\x01https://example.org/a.png">',
        '<img src="https:example.org/a.png">',
        '<img src="&#104;ttps://example.org/a.png">',
        '<img srcset="a.png 1x, https://example.org/b.png 2x">',
        '<link rel="preload" imagesrcset="a.png 1x,//example.org/b.png 2x" href="a.png">',
        '<base href="https://example.org/">',
        '<meta http-equiv="Refresh" content="0; url=https://example.org">',
        '<svg><image href="https://example.org/a.png"/></svg>',
        '<svg><use xlink:href="//example.org/a.svg#b"/></svg>',
        '<input type="image" src="https://example.org/a.png">',
        '<video><track src="https://example.org/a.vtt"></video>',
        '<body background="https://example.org/a.png">',
        '<a href="a.html" ping="https://example.org/count">there</a>',
        '<a href="javascript:fetch(`//example.org`)">there</a>',
        '<iframe srcdoc="&lt;img src=//example.org/a.png&gt;"></iframe>',
        '<iframe src="data:text/html,here"></iframe>',
        "<p onclick=\"fetch('https://example.org')\">",
        '<script>new WebSocket("wss://example.org")</script>',
        r'<script>fetch("\x68ttps:\/\/example.org")</script>',
        r'<script>fetch("\150ttps:\57\57example.org")</script>',
        r"<script>fetch('\57\57example.org')</script>",
        '<script>fetch("ht" + "tps://example.org")</script>',
        "<script>fetch('https:' /* here */ +\n'//example.org')</script>",
        r'<script>fetch("/" + `\57example.org`)</script>',
        '<style>a{background:image-set("https://example.org/a.png" 1x)}</style>',
        r'<style>@\69mport "\68 ttps://example.org/a.css";</style>',
        '<style>a{content:"/*";background:url(//example.org/a.png);quotes:"*/"}</style>',
        '<style>@import/**/"//example.org/a.css";</style>',
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(html):
    assert len(find_foreign(f"<html><body>{html}</body></html>")) == 1


@pytest.mark.parametrize(
    "html",
    [
        '<a href="https://example.org">there</a>',
        '<script src="_static/a.js"></script>',
        '<link rel="canonical" href="https://example.org/page">',
        '<link rel="stylesheet" href="../_static/a.css">',
        "<p>url(https://example.org/a.png) in words</p>",
        '<img src="data:image/png;base64,AAAA">',
        '<p title="see https://example.org">words</p>',
        '<meta name="description" content="of https://example.org">',
        '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0 0"/></svg>',
        "<style>/* https://example.org */ a{background:url('data:image/svg+xml;utf8,"
        '<svg xmlns="http://www.w3.org/2000/svg"/>\')}</style>',
        "<script>/* from https://example.org */ const a = 'a.js' // words</script>",
        r"<script>const a = 'a' + '\1b/' + '/c.js', b = x + '/' + y</script>",
    ],
)
def test_links_and_what_lies_beside_a_page_are_not_foreign(html):
    assert find_foreign(html) == []


def test_pages_are_checked_with_their_style_sheets_and_search(tmp_path):
    (tmp_path / "a.html").write_text('<script src="//example.org/a.js"></script>')
    (tmp_path / "a.css").write_text("@import 'https://example.org/b.css';")
    (tmp_path / "b.svg").write_text('<svg><image href="//example.org/a.png"/></svg>')
    (tmp_path / "c.js").write_text("fetch('//example.org/a')")
    (tmp_path / "searchindex.js").write_text('{"docnames":["docs/known"]}')
    assert list(check_pages(tmp_path, ["docs/known.md", "docs/lost.md"])) == [
        "a.html loads //example.org/a.js",
        "b.svg loads //example.org/a.png",
        "a.css loads https://example.org/b.css",
        "c.js loads //example.org/a",
        "search does not know docs/lost.md",
    ]
    assert find_in_style("a{background:url(../a.png)}") == []


@pytest.mark.parametrize(
    "text",
    [
        "```{include} a.txt\n```",
        "- in a list\n  ~~~ {eval-rst}\n  ~~~",
        "[^1]:\n    ```{image} a.png\n    ```",
        "---\nmyst: {enable_extensions: [colon_fence]}\n---\n# Page",
        "[out](../../a.txt)",
        "[out](%2e%2e/../a.txt)",
        "[out](/etc/hostname)",
        "![out](../../a.png)",
        "[out][1]\n\n[1]: ../../a.txt",
        "<path:../../a.txt>",
        "[out](file:///etc/hostname)",
    ],
)
def test_what_sphinx_would_carry_out_or_take_along_is_found(text):
    assert list(find_unfit("docs/a.md", text))


def test_what_github_shows_too_is_fit_for_a_page():
    text = "# Page\n\n```console\n$ echo {a}\n```\n\n[a](../README.md#top) [b](#part) [c](b.md)\n"
    more = "<https://example.org> [d](mailto:a@example.org) ![e](images/a.png) `{name}`\n\n---\n"
    assert list(find_unfit("docs/a.md", text + more)) == []


def test_staging_takes_nothing_from_outside_of_the_repository(tmp_path):
    root, out = tmp_path / "root", tmp_path / "within" / "out"
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.md").write_text("# secret")
    for page in (*TOP_PAGES, *OTHER_PAGES, "docs/README.md"):
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        (root / page).write_text("# Page\n")
    links = "[a](../../secret.txt) [b](here.txt) [c](folder/) [d](kept.txt)\n"
    (root / "docs" / "a.md").write_text(f"# A\n\n{links}")
    (root / "docs" / "here.txt").symlink_to(tmp_path / "secret.txt")
    (root / "docs" / "here.md").symlink_to(tmp_path / "secret.md")
    (root / "docs" / "folder").mkdir()
    (root / "docs" / "folder" / "there.txt").symlink_to(tmp_path / "secret.txt")
    (root / "docs" / "kept.txt").write_text("kept")
    assert "docs/here.md" not in stage(root, out)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and root not in path.parents]
    holding = [path.name for path in files if "secret" in path.read_text().splitlines()]
    assert holding == ["secret.txt"]
    assert (out / "docs" / "kept.txt").read_text() == "kept"


def test_a_link_is_followed_from_the_folder_of_its_page():
    assert resolve("../README.md", "docs") == "README.md"
    assert resolve("decisions/", "docs") == "docs/decisions"
    assert resolve("https://example.org/a.md", "docs") is None
    assert resolve("../../a.md", "docs") is None
    assert resolve("/a.md", "docs") is None
