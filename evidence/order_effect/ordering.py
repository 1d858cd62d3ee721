"""A pytest plugin (``-p evidence.order_effect.ordering``) that runs the timed cases in an order.

The order comes from the variable ``SDPERF_ORDER``: ``default``, ``reversed`` or ``shuffled:SEED``.
Cases of one pipeline stay together, as sdperf runs them; pipelines and the cases within each are
reversed or shuffled. Cases that are not timed rounds (quality, gains) are deselected.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import pytest

from sdperf.plugin.collecting import plan
from sdperf.plugin.keys import is_ours
from sdperf.plugin.live.session import session_of

ORDER_VARIABLE: Final = "SDPERF_ORDER"

T = TypeVar("T")


def reorder(cases: Sequence[T], pipeline_of: Callable[[T], object], order: str) -> list[T]:
    """Return cases in another order; those of one pipeline stay together.

    Args:
        cases: In the default order.
        pipeline_of: Returns what a case loads.
        order: ``default``, ``reversed`` or ``shuffled:SEED``.

    Raises:
        ValueError: There is no such order.
    """
    name, _, seed = order.partition(":")
    if name == "default":
        return list(cases)
    if name == "reversed":
        return list(reversed(cases))
    if name != "shuffled":
        raise ValueError(f"no order {order!r}; expected: default, reversed or shuffled:SEED")
    generator = random.Random(int(seed))
    groups = [list(group) for _, group in itertools.groupby(cases, key=pipeline_of)]
    for group in groups:
        generator.shuffle(group)
    generator.shuffle(groups)
    return [case for group in groups for case in group]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    session = session_of(config)
    plan(session, [item for item in items if is_ours(item)])
    planned = {
        one.node_id: one
        for one in session.suites.plan.tests
        if one.is_timed and not one.has_plain_side
    }
    timed = [item for item in items if item.nodeid in planned]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in planned])
    order = os.environ.get(ORDER_VARIABLE, "default")
    items[:] = reorder(timed, lambda item: planned[item.nodeid].pipeline, order)
