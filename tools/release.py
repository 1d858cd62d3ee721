"""The version, the changelog and the tag of a release.

    python -m tools.release check v0.2.0     do tag, version and changelog agree?
    python -m tools.release cut 0.2.0        sets the version, and dates what is unreleased

The version stands in ``sdperf/__init__.py`` alone. Exit status: 0 done, 1 they do not agree, 2 the
version cannot be used.
"""

import argparse
import datetime
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "## Unreleased"
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_RELEASE = re.compile(r"\d+\.\d+\.\d+(?:rc\d+)?")


def read_version(source: str) -> str:
    """Return the version that the package's source says."""
    (version,) = _VERSION.findall(source)
    return version


def find_section(changelog: str, version: str) -> str | None:
    """Return what the changelog says of a version; ``None`` where it has no such section."""
    pattern = rf"^## {re.escape(version)} \(\d{{4}}-\d\d-\d\d\)$"
    heading = re.search(pattern, changelog, re.MULTILINE)
    if heading is None:
        return None
    return re.split(r"^## ", changelog[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip()


def find_faults(tag: str, source: str, changelog: str, project: str) -> list[str]:
    """Say what of a release does not agree; nothing where all does.

    Args:
        tag: Such as ``v0.2.0``.
        source: Text of ``sdperf/__init__.py``.
        changelog: Text of ``CHANGELOG.md``.
        project: Text of ``pyproject.toml``.
    """
    version = read_version(source)
    faults = []
    if tag != f"v{version}":
        faults.append(f"the tag is {tag}, the version {version}; expected: v{version}")
    if not find_section(changelog, version):
        faults.append(
            f"CHANGELOG.md says nothing of {version}; do: python -m tools.release cut {version}"
        )
    if not tomllib.loads(project)["project"].get("urls", {}).get("Source"):
        faults.append(
            "pyproject.toml does not say where the project is, which a package index shows; "
            "do: add [project.urls] with Source and Issues"
        )
    return faults


def cut(changelog: str, version: str, today: datetime.date) -> str:
    """Give what is unreleased a version and a date, below an empty section for what comes next.

    Raises:
        ValueError: There is nothing unreleased, or the version is there already.
    """
    if find_section(changelog, version) is not None:
        raise ValueError(f"CHANGELOG.md has {version} already")
    before, heading, after = changelog.partition(f"{UNRELEASED}\n")
    content = re.split(r"^## ", after, maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not heading or not content:
        raise ValueError(f"CHANGELOG.md has nothing below {UNRELEASED}")
    return f"{before}{heading}\n## {version} ({today.isoformat()})\n\n{after.lstrip()}"


def main(words: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("check", help="do tag, version and changelog agree?").add_argument("tag")
    actions.add_parser("cut", help="set the version, date what is unreleased").add_argument(
        "version"
    )
    asked = parser.parse_args(words)
    source, changelog = root / "sdperf/__init__.py", root / "CHANGELOG.md"
    if asked.action == "check":
        texts = (one.read_text("utf-8") for one in (source, changelog, root / "pyproject.toml"))
        faults = find_faults(asked.tag, *texts)
        print("\n".join(faults) or f"{asked.tag}: tag, version and changelog agree")
        return 1 if faults else 0
    if not _RELEASE.fullmatch(asked.version):
        print(f"no version: {asked.version}; expected: 1.2.3 or 1.2.3rc1", file=sys.stderr)
        return 2
    today = datetime.datetime.now(datetime.UTC).date()
    try:
        text = cut(changelog.read_text("utf-8"), asked.version, today)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    changelog.write_text(text, encoding="utf-8")
    changed = _VERSION.sub(f'__version__ = "{asked.version}"', source.read_text("utf-8"))
    source.write_text(changed, encoding="utf-8")
    print(f"{asked.version}; do: look at the difference, commit, git tag v{asked.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
