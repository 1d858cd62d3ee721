"""Print the table, and answer with the exit status: 0 as expected, 1 otherwise, 2 no answer."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from sdperf.errors import SdperfError
from tools.hosted_pictures.comparing import Prediction, compare, read_pictures

PRECISIONS: Final = ("fp32", "fp16")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.hosted_pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--expect", choices=("sound", "wrong"), required=True)
    arguments = parser.parse_args(words)
    try:
        pairs = [
            (
                Prediction.of(precision, _load(arguments.folder, "predicted", precision)),
                read_pictures(_load(arguments.folder, "pictures", precision)),
            )
            for precision in PRECISIONS
        ]
        report = compare(pairs, expects_wrong=arguments.expect == "wrong")
    except (SdperfError, OSError, ValueError, KeyError) as error:
        print(f"no answer: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    print("\n".join(report.lines))
    return 0 if report.as_expected else 1


def _load(folder: Path, name: str, precision: str) -> dict[str, Any]:
    document = json.loads((folder / f"{name}-{precision}.json").read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError(f"{name}-{precision}.json holds no object")
    return document


if __name__ == "__main__":
    sys.exit(main())
