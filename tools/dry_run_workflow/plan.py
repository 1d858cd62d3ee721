"""What act has to be told about a job. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sdperf.errors import ConfigurationError

_ON: Final = True
"""YAML 1.1 reads the key ``on`` as a boolean."""

_CHECKOUT: Final = "actions/checkout@"
_OF_MATRIX: Final = re.compile(r"\$\{\{ *matrix\.([\w-]+) *\}\}")


@dataclass(frozen=True)
class Plan:
    """How one job of a workflow is run here.

    Attributes:
        event: What is said to have happened.
        labels: Kinds of machines that the job asks for; this one stands in for each.
        matrix: One value of each axis.
        actions: Actions that are stood in for, with the names of their inputs.
        conditions: Steps that do not always run, with their conditions.
    """

    event: str
    labels: tuple[str, ...]
    matrix: Mapping[str, str]
    actions: Mapping[str, tuple[str, ...]]
    conditions: Mapping[str, str]


def make_plan(
    document: Mapping[Any, Any],
    name: str,
    chosen: Mapping[str, str],
    read_local: Callable[[str], Mapping[Any, Any]] | None = None,
) -> Plan:
    """Plan a job.

    Args:
        document: The workflow, as YAML reads it.
        name: The job.
        chosen: Values of axes of the matrix; the first one of each other axis is taken.
        read_local: Returns the ``action.yml`` of an action of the checkout itself (``./FOLDER``);
            such an action is run, and those that it uses are stood in for.

    Raises:
        ConfigurationError: There is no such job or value, or it cannot be run here.
    """
    jobs = document.get("jobs") or {}
    if name not in jobs:
        raise ConfigurationError("there is no such job", got=name, expected=", ".join(jobs))
    job = jobs[name]
    for key in ("uses", "container", "services"):
        if key in job:
            raise ConfigurationError(f"a job with {key} cannot be run here", got=name)
    axes = (job.get("strategy") or {}).get("matrix") or {}
    return Plan(
        event=_choose_event(document),
        labels=_list_labels(job["runs-on"], axes),
        matrix=_choose(axes, chosen),
        actions=_list_actions(_with_local(job["steps"], read_local)),
        conditions={
            str(step.get("name", step.get("uses", "a step"))): str(step["if"])
            for step in job["steps"]
            if "if" in step
        },
    )


def _choose_event(document: Mapping[Any, Any]) -> str:
    events = document.get(_ON, document.get("on"))
    names = [events] if isinstance(events, str) else list(events or ())
    return "push" if "push" in names or not names else str(names[0])


def _list_labels(runs_on: str | list[str], axes: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = [runs_on] if isinstance(runs_on, str) else runs_on
    labels: list[str] = []
    for label in wanted:
        axis = _OF_MATRIX.fullmatch(label)
        labels += [label] if axis is None else map(str, axes[axis[1]])
    return tuple(dict.fromkeys(labels))


def _choose(axes: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, str]:
    known = {name: list(map(str, values)) for name, values in axes.items() if _is_axis(name)}
    for name, value in chosen.items():
        if value not in known.get(name, ()):
            expected = "; ".join(f"{key}: {', '.join(values)}" for key, values in known.items())
            raise ConfigurationError(
                "the matrix has no such value", got=f"{name}:{value}", expected=expected
            )
    return {name: chosen.get(name, values[0]) for name, values in known.items()}


def _is_axis(name: str) -> bool:
    return name not in ("include", "exclude")


def _with_local(
    steps: list[Mapping[str, Any]], read_local: Callable[[str], Mapping[Any, Any]] | None
) -> list[Mapping[str, Any]]:
    """Put the steps of the checkout's own composite actions in their place."""
    found: list[Mapping[str, Any]] = []
    for step in steps:
        action = str(step.get("uses", ""))
        if action.startswith("./") and read_local is not None:
            found += _with_local(read_local(action)["runs"]["steps"], read_local)
        else:
            found.append(step)
    return found


def _list_actions(steps: list[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        action = step.get("uses", "")
        if not action or action.startswith(_CHECKOUT):
            continue
        if action.startswith(("./", "docker://")) or "@" not in action:
            raise ConfigurationError(
                "this action cannot be stood in for", got=action, expected="OWNER/NAME@REF"
            )
        inputs = (*found.get(action, ()), *(step.get("with") or {}))
        found[action] = tuple(dict.fromkeys(inputs))
    return found
