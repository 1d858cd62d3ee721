"""Record the models with ``--record``, and write the page from what was recorded."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from evidence.mps_models.page import format_page
from sdperf.store.files import write_atomically

ROOT: Final = Path(__file__).parents[2]
DATA_PATH: Final = ROOT / "docs/results/mps-models.json"
PAGE_PATH: Final = ROOT / "docs/mps-models.md"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m evidence.mps_models", description=__doc__)
    parser.add_argument("--record", action="store_true", help="record anew, which takes minutes")
    if parser.parse_args().record:
        from evidence.mps_models.recording import record_models

        write_atomically(DATA_PATH, (json.dumps(record_models(), indent=1) + "\n").encode())
    page = format_page(json.loads(DATA_PATH.read_text(encoding="utf-8")))
    write_atomically(PAGE_PATH, page.encode())


if __name__ == "__main__":
    main()
