"""Defines a setting: its name, the kind of its values, its meaning and its default. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sdperf.settings.kinds import AUTO, Kind, listed

T = TypeVar("T")
U = TypeVar("U")

PREFIX: Final = "--sd-"
"""The beginning of sdperf's options of pytest, which no other plugin uses."""


@dataclass(frozen=True)
class Setting(Generic[T]):
    """One setting. As text it is its option of pytest, `PREFIX` and key.

    Attributes:
        key: Its name, words joined by ``-``.
        metavar: What stands for one value in a help text; empty for a switch.
        kind: How one value is read and written.
        about: What it means, one phrase.
        default: What holds where nothing is typed, as text.
        auto: What ``auto`` does, a phrase with its verb; ``None`` where it cannot be typed.
        fields: Fields of `Workload` or `Variant` that it sets, in the order of its values.
        is_list: Whether a pytest run takes a comma list of values and measures each.
    """

    key: str
    metavar: str
    kind: Kind[T]
    about: str
    default: str = ""
    auto: str | None = None
    fields: tuple[str, ...] = ()
    is_list: bool = False

    def __str__(self) -> str:
        """Return the option of pytest."""
        return f"{PREFIX}{self.key}"

    @property
    def ini(self) -> str:
        """The setting in pytest's ini file."""
        return f"sd_{self.name}"

    @property
    def flag(self) -> str:
        """The option of those commands that have it."""
        return f"--{self.key}"

    @property
    def name(self) -> str:
        """The key in ``KEY=VALUE``, and the attribute of what argparse reads."""
        return self.key.replace("-", "_")

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return not self.metavar

    @property
    def help(self) -> str:
        """What a pytest run says of it: meaning, kind of value, ``auto`` and default."""
        if self.is_switch:
            return self.about
        parts = [self.about, ", a comma list; each" if self.is_list else ""]
        parts += [f": {self.kind.expected}"] if self.kind.expected else []
        parts += [f"; auto {self.auto}"] if self.auto else []
        return "".join((*parts, f" ({self.default or 'none'})"))

    @property
    def usual(self) -> str:
        """What holds where nothing is typed, in words; empty where that is nothing."""
        return self.default if self.default != AUTO else (self.auto or AUTO).removeprefix("is ")

    def taking(self, kind: Kind[U], about: str | None = None) -> Setting[U]:
        """Return the setting as a command has it that takes another kind of value, or means less.

        Args:
            kind: How its values are read and written there.
            about: What it means there; ``None`` is the same.
        """
        return Setting(
            self.key,
            self.metavar,
            kind,
            self.about if about is None else about,
            self.default,
            self.auto,
            self.fields,
        )

    def parse(self, text: str) -> T:
        """Read one value.

        Raises:
            ValueError: It cannot be used; the error says what is expected.
        """
        return self.kind.parse(text)

    def parse_or_auto(self, text: str) -> T | None:
        """Read one value, or ``auto`` as ``None``.

        Raises:
            ValueError: It cannot be used; the error says what is expected.
        """
        return None if text.strip() == AUTO else self.kind.parse(text)

    def parse_list(self, text: str) -> tuple[T, ...]:
        """Read a comma list.

        Raises:
            ValueError: A value cannot be used; the error says what is expected.
        """
        return listed(self.kind).parse(text)

    def format(self, value: T | None) -> str:
        """Write a value as `parse_or_auto` reads it."""
        return AUTO if value is None else self.kind.format(value)

    def assign(self, value: T | None) -> str:
        """Write ``KEY=VALUE``.

        >>> from sdperf.settings.kinds import whole
        >>> Setting("steps", "N", whole(), "denoising steps").assign(20)
        'steps=20'
        """
        return f"{self.name}={self.format(value)}"
