"""Makes docs/options.md of the table of settings: ``python -m tools.options_page``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from sdperf.ab.sides.settings import OF_A_SIDE
from sdperf.settings import OPTIONS, SWITCHES
from sdperf.settings.kinds import Setting
from sdperf.tune.question.making_space import KEYS

PAGE: Final = Path(__file__).parents[1] / "docs" / "options.md"
_HEAD: Final = """\
# Every setting of a pytest run

Made of the table in `sdperf/settings` by `python -m tools.options_page`. What is typed wins over
`--sd-profile`, that over the ini file (`sd_steps = 20` below `[pytest]`), that over the default.

Commands that have a setting name it without `sd-` (`sdperf generate --steps 20`). What is marked
`ab` is a key of `sdperf ab --a KEY=VALUE` too, with `_` for `-`; what is marked `search` one of
`sdperf tune --search KEY=A|B`.
"""


def format_page() -> str:
    """Return the page."""
    lines = [_HEAD, "| option | meaning | values | default | also |", "|---|---|---|---|---|"]
    lines += [_format_row(setting) for setting in OPTIONS]
    lines += ["", "## Switches", "", "| option | meaning |", "|---|---|"]
    lines += [f"| `{switch}` | {_escape(switch.about)} |" for switch in SWITCHES]
    return "\n".join(lines) + "\n"


def _format_row(setting: Setting[Any]) -> str:
    values = setting.kind.expected or setting.metavar
    parts = [f"a comma list; each: {values}" if setting.is_list else values]
    parts += [f"`auto` {setting.auto}"] if setting.auto else []
    also = ["ab"] if setting in OF_A_SIDE else []
    also += ["search"] if setting.name in KEYS else []
    cells = (
        f"`{setting}`",
        _escape(setting.about),
        _escape("; ".join(parts)),
        f"`{setting.default}`" if setting.default else "none",
        ", ".join(also),
    )
    return f"| {' | '.join(cells)} |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(format_page(), encoding="utf-8")
