"""Record a Mac's programs, or look at a recording; see the package."""

import argparse
import sys
from pathlib import Path

from sdperf.cli.machine.contribute import find_identity
from sdperf.errors import SdperfError
from sdperf.measure.system import LIVE_SYSTEM
from tools.refresh_apple_fixtures.recording import check, collect


def ask(*arguments: str) -> str:
    return (LIVE_SYSTEM.run("/usr/sbin/scutil", *arguments) or "").strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.refresh_apple_fixtures")
    actions = parser.add_subparsers(dest="action", required=True)
    collecting = actions.add_parser("collect", help="record this Mac")
    collecting.add_argument("--out", type=Path, required=True, help="a new folder")
    checking = actions.add_parser("check", help="replay a recording through the parsers")
    checking.add_argument("folder", type=Path)
    asked = parser.parse_args()
    try:
        if asked.action == "collect":
            if sys.platform != "darwin":
                raise SdperfError("only a Mac can be recorded", got=sys.platform)
            names = (ask("--get", kind) for kind in ("ComputerName", "LocalHostName", "HostName"))
            for name in collect(LIVE_SYSTEM, asked.out, find_identity(*names)):
                print(asked.out / name)
            return 0
        missing = check(asked.folder)
    except SdperfError as error:
        print(f"refresh_apple_fixtures: {error}", file=sys.stderr)
        return 2
    for what in missing:
        print(f"not understood: {what}")
    print("the parsers understand it" if not missing else f"{len(missing)} not understood")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
