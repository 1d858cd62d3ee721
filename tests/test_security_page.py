"""Each line of docs/security.md names a test that exists."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_line_names_a_test_that_exists():
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|") and "---" not in line]
    rows = [line for line in rows if line != "| what | test |"]
    assert len(rows) > 10
    for line in rows:
        (path, name) = re.search(r"`(tests/[\w/]+\.py)::(\w+)`", line).groups()
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        assert name in {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}, line
