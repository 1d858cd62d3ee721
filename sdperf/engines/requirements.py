"""Check the packages of engines and optimisations, without importing any of them."""

from __future__ import annotations

from collections.abc import Iterable

from sdperf.device import DeviceKind
from sdperf.engines.catalogue import ENGINES, FindVersion, explain_absence, find_version
from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import OPTIMISATIONS


def require_installed(
    engines: Iterable[str],
    optimisations: Iterable[str],
    device: DeviceKind,
    find: FindVersion = find_version,
) -> None:
    """Refuse engines and optimisations that were named and are not installed here.

    Args:
        engines: Names of engines.
        optimisations: Names of optimisations.
        device: Kind of device that they run on.
        find: Returns the version of an installed distribution.

    Raises:
        ConfigurationError: A package is missing; the message says how to install it.
    """
    for name in engines:
        choice = ENGINES.get(name)  # ``None`` for a program of the user
        missing = None if choice is None else explain_absence(choice, device, find)
        if missing is not None:
            what, _, hint = missing.rpartition(": ")
            raise ConfigurationError(what, hint=hint)
    for name in optimisations:
        needed = OPTIMISATIONS[name].distribution if name in OPTIMISATIONS else None
        if needed is not None and find(needed[0]) is None:
            raise ConfigurationError(
                f"the optimisation {name} is not installed ({needed[0]} missing)",
                hint=f"pip install 'sdperf[{needed[1]}]'",
            )
