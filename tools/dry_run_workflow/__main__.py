"""Run a job of a workflow here; see the package."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from sdperf.errors import ConfigurationError, SdperfError
from tools.dry_run_workflow.plan import make_plan
from tools.dry_run_workflow.running import clone, forget_queue, run_job


def parse_axes(pairs: list[str]) -> dict[str, str]:
    faults = [pair for pair in pairs if ":" not in pair]
    if faults:
        raise ConfigurationError("--matrix cannot be used", got=faults[0], expected="AXIS:VALUE")
    return dict(pair.split(":", 1) for pair in pairs)


def read_action(root: Path, action: str) -> dict[str, Any]:
    """Read an action of the checkout itself.

    Raises:
        ConfigurationError: There is none.
    """
    path = root / action / "action.yml"
    if not path.is_file():
        raise ConfigurationError("the checkout has no such action", got=action)
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return document


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.dry_run_workflow",
        description="Run a job of a workflow on this machine, in a fresh clone of the last commit.",
        epilog="exit status: 0 every step passed, 1 one did not, 2 the job cannot be run here",
    )
    parser.add_argument("workflow", type=Path, help="the file, such as .github/workflows/macos.yml")
    parser.add_argument("job", help="its key below jobs:")
    parser.add_argument(
        "--matrix", action="append", default=[], metavar="AXIS:VALUE", help="(the first of each)"
    )
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for the steps"
    )
    parser.add_argument(
        "--var", action="append", default=[], metavar="NAME=VALUE", help="of the repository"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout (this folder)")
    asked = parser.parse_args(words)
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name) / "clone"
            commit, changed = clone(asked.root, folder)
            relative = asked.workflow.resolve().relative_to(asked.root.resolve()).as_posix()
            document = yaml.safe_load((folder / relative).read_text(encoding="utf-8"))
            plan = make_plan(
                document, asked.job, parse_axes(asked.matrix), lambda one: read_action(folder, one)
            )
            print(f"job {asked.job} at {commit}, as {dict(plan.matrix)}, on {sys.platform}")
            if changed:
                print(f"not in it: {changed} files that differ from the commit")
            for action in plan.actions:
                print(f"stood in for: {action}")
            for step, condition in plan.conditions.items():
                print(f"under a condition: {step} ({condition})")
            sys.stdout.flush()
            scratch = Path(name) / "act"
            forget_queue(folder / relative)
            status = run_job(plan, relative, asked.job, folder, scratch, asked.env, asked.var)
    except (SdperfError, OSError, ValueError, yaml.YAMLError) as error:
        print(f"dry_run_workflow: {error}", file=sys.stderr)
        return 2
    print(f"job {asked.job}: {'every step that ran passed' if status == 0 else 'failed'}")
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
