"""Damages files that sdperf reads and gives them to every command that reads one.

``python -m tools.fuzz_readers --mutations 5000`` exits 1 where a command ended in a traceback, and
says which mutation it was, so that it can be made again.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdperf.cli import main

HOSTILE: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 1, 2**63, 10**400, 1e308, -1e-308, 0.5, "", "x", "\x1b[2J\r\n::error::x",
    "<script>alert(1)</script>", "=1+1|x`\u202e", "\ud800", "a" * 5000, [], {}, [None], {"": {}},
    [[[[]]]], float("nan"), float("inf"), "../../etc/passwd", "NO BASELINE", "BROKEN",
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A command that reads a file.

    Attributes:
        name: Its name in messages.
        line: Its command line, with ``{bad}`` for the damaged file, ``{good}`` for a sound one,
            and ``{to}`` for a folder that may be written.
    """

    name: str
    line: str

    def format(self, bad: Path, good: Path, to: Path) -> list[str]:
        """Return the command line's words."""
        return [word.format(bad=bad, good=good, to=to) for word in self.line.split()]


READERS: Final = (
    Reader("compare with", "compare {bad} {good}"),
    Reader("compare", "compare {good} {bad}"),
    Reader("report", "report {bad} --baselines {to}/b --history {to}/h.db -o {to}/r.html"),
    Reader("accept", "baseline accept {bad} --reason x --baselines {to}/b"),
    Reader("import", "history import {bad} --history {to}/h.db"),
    Reader("contribute", "contribute {bad} -o {to}/c.json"),
    Reader("export", "export --format junit {bad}"),
)
"""Commands that take a saved run, by the words of their command line."""


def shorten(document: dict[str, Any]) -> dict[str, Any]:
    """Return a run with its first two cases alone: more mutations a second."""
    kept = document["benchmarks"][:2]
    names = {saved["fullname"] for saved in kept}
    own = document["sdperf"]
    outcomes = {name: one for name, one in own["outcomes"].items() if name in names}
    return document | {"benchmarks": kept, "sdperf": own | {"outcomes": outcomes}}


def _to_json(document: Any) -> bytes:
    return json.dumps(document).encode()


def mutate(
    document: Any, chance: random.Random, encode: Callable[[Any], bytes] = _to_json
) -> bytes:
    """Return a damaged copy of a JSON value: one to three places of its tree, or of its bytes.

    Args:
        document: The value.
        chance: Decides what is damaged, and how.
        encode: Makes the bytes of the value.
    """
    damaged = copy.deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        _damage(damaged, chance)
    content = encode(damaged)
    if content and chance.random() < 0.1:
        at = chance.randrange(len(content))
        return content[:at] + chance.choice((b"", b"\xff", b"[" * 3000)) + content[at + 1 :]
    return content


def call(arguments: Sequence[str]) -> str | None:
    """Run a command in this process; returns its traceback, or ``None``."""
    swallowed = io.StringIO()
    with contextlib.redirect_stdout(swallowed), contextlib.redirect_stderr(swallowed):
        try:
            main(arguments)
        except SystemExit:
            return None
        except BaseException:  # noqa: BLE001 (that is what is looked for)
            return traceback.format_exc()
    return None


def fuzz(
    source: Path, folder: Path, mutations: int, seed: int, readers: Sequence[Reader] = READERS
) -> Iterator[tuple[str, str]]:
    """Give damaged copies of a saved run to each command.

    Args:
        source: A sound run.
        folder: Where to work; what is made there is replaced at each turn.
        mutations: How many copies.
        seed: The same seed makes the same copies.
        readers: Which commands.

    Yields:
        For each traceback: what it was, and the traceback.
    """
    document = shorten(json.loads(source.read_bytes()))
    bad, good = folder / "bad.json", folder / "good.json"
    good.write_text(json.dumps(document))
    for number in range(mutations):
        bad.write_bytes(mutate(document, random.Random(f"{seed}/{number}")))
        for reader in readers:
            (folder / "c.json").unlink(missing_ok=True)
            found = call(reader.format(bad, good, folder))
            if found is not None:
                yield f"{reader.name}, mutation {number} of seed {seed}", found


def _damage(document: Any, chance: random.Random) -> None:
    node, key = document, None
    for _ in range(chance.randrange(1, 12)):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return
        key = chance.choice(keys)
        inner = node[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.08:
            break
        node = inner
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    if not keys:
        return
    if key not in keys:
        key = chance.choice(keys)
    kind = chance.random()
    if kind < 0.2:
        del node[key]
    elif kind < 0.3 and isinstance(node, dict):
        node[chance.choice(["", "x", "\x1b[0m", key + "x"])] = node.pop(key)
    elif kind < 0.4 and isinstance(node, list):
        node.append(copy.deepcopy(node[key]))
    else:
        node[key] = copy.deepcopy(chance.choice(HOSTILE))
