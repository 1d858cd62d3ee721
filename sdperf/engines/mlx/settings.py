"""Reads a component's configuration, and refuses what this code does not compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sdperf.errors import EngineError
from sdperf.settings import ENGINE


class NetworkSettings:
    """The entries of a `config.json`, each read once and checked.

    Args:
        component: How messages name it, such as ``UNet``.
        entries: By name, as JSON or a diffusers configuration has them; names that begin with
            ``_`` are ignored.
    """

    def __init__(self, component: str, entries: Mapping[str, Any]) -> None:
        self.component = component
        self._entries = {name: value for name, value in entries.items() if not name.startswith("_")}

    def number(self, name: str, default: int | None = None, *, least: int = 1) -> int:
        """Return a whole number.

        Args:
            name: Name of the entry.
            default: Value where the entry is absent.
            least: Smallest allowed value.

        Raises:
            EngineError: It is missing or something else.
        """
        value = self._entries.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.refuse(name, value, f"a whole number of {least} or more")
        return value

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return a list of whole numbers of one or more.

        Raises:
            EngineError: It is missing, empty or something else.
        """
        value = self._entries.get(name)
        if not isinstance(value, list | tuple) or not value or not all(map(is_count, value)):
            raise self.refuse(name, value, "a list of whole numbers of one or more")
        return tuple(value)

    def real(self, name: str, default: float) -> float:
        """Return a number.

        Raises:
            EngineError: It is something else.
        """
        value = self._entries.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(name, value, "a number")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false.

        Raises:
            EngineError: It is something else.
        """
        value = self._entries.get(name, default)
        if not isinstance(value, bool):
            raise self.refuse(name, value, "true or false")
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """Return an entry as it is."""
        return self._entries.get(name, default)

    def require(self, accepted: Mapping[str, Iterable[Any]]) -> None:
        """Check that entries which would change the computation have their plain values.

        Args:
            accepted: The values of each that compute what this code computes; an absent entry
                is diffusers' default, which is among them.

        Raises:
            EngineError: One has another value.
        """
        for name, values in accepted.items():
            known = list(values)
            value = self._entries.get(name, known[0])
            if isinstance(value, list | tuple):
                if all(item in known for item in value):
                    continue
            elif value in known:
                continue
            raise self.refuse(name, value, " or ".join(map(str, known)))

    def check_known(self, names: Iterable[str]) -> None:
        """Check that no entry is set that this code does not know.

        Args:
            names: All entries that are read, checked or without influence.

        Raises:
            EngineError: Another entry has a value.
        """
        for name in sorted(self._entries.keys() - set(names)):
            if self._entries[name] not in (None, False):
                raise self.refuse(name, self._entries[name], "an absent entry")

    def refuse(self, name: str, value: object, expected: str) -> EngineError:
        """Make the error for an entry that cannot be used."""
        return EngineError(
            f"the mlx engine cannot run this {self.component}",
            got=f"{name}: {value}",
            expected=f"{name}: {expected}",
            hint=f"{ENGINE} torch",
        )


def is_count(value: object) -> bool:
    """Tell whether a value is a whole number of one or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
