"""Sphinx's settings of the site; `tools.site` lays the pages out and calls Sphinx."""

import re
from pathlib import Path

_PACKAGE = Path(__file__).parents[2] / "sdperf" / "__init__.py"
_FOUND = re.search(r'^__version__ = "([^"]+)"$', _PACKAGE.read_text(encoding="utf-8"), re.MULTILINE)

project = "sdperf"
author = "The sdperf authors"
copyright = author  # noqa: A001
release = _FOUND.group(1) if _FOUND else ""

extensions = ["myst_parser"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = True
highlight_language = "text"

# The pages are GitHub's Markdown and are read there too: what only a site understands is off.
# (myst_gfm_only would leave links between pages as they are, unchecked.)
myst_disable_syntax = ["myst_block_break", "myst_line_comment", "myst_role", "myst_target"]
myst_fence_as_directive = []
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"sdperf {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False

linkcheck_timeout = 30
linkcheck_retries = 3
linkcheck_anchors = False
