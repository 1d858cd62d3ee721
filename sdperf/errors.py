"""The one tree of errors that sdperf raises for things a user can act on."""

from __future__ import annotations


class SdperfError(Exception):
    """Something a user can act on: what is wrong, what was got, what was expected, what to do.

    Args:
        what: What is wrong, as one sentence without a full stop.
        got: The value or situation that was met.
        expected: What would have been accepted.
        hint: What to do next, ideally a command to type.
    """

    def __init__(
        self,
        what: str,
        *,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.got = got
        self.expected = expected
        self.hint = hint
        super().__init__(what, got, expected, hint)

    def __str__(self) -> str:
        return "; ".join(self.list_parts())

    def list_parts(self) -> list[str]:
        """Return what is wrong, then what was got, what was expected and what to do, as known."""
        from sdperf.urls import mask_credentials

        parts = [self.what]
        if self.got is not None:
            parts.append(f"got: {self.got}")
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.hint is not None:
            parts.append("do: " + self.hint)  # a hint that knows its commands keeps them so
        masked = map(mask_credentials, parts)
        return [part if part == safe else safe for part, safe in zip(parts, masked, strict=True)]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the whole error for another process, with the keyword arguments as state."""
        return (_rebuild, (type(self), self.what, self.got, self.expected, self.hint))


def _rebuild(
    kind: type[SdperfError], what: str, got: object, expected: object, hint: str | None
) -> SdperfError:
    return kind(what, got=got, expected=expected, hint=hint)


class ConfigurationError(SdperfError):
    """An option, ini setting, prompts file or argument has a value that cannot be used."""


class SubjectError(ConfigurationError):
    """The module of a subject cannot be imported, or lacks the function."""


class ModelError(SdperfError):
    """A model is missing, unreachable, incomplete, or no pipeline that draws images."""


class GenerationError(SdperfError):
    """A generation failed inside a healthy worker (out of memory, a bad shape, a NaN)."""


class UnsupportedError(SdperfError):
    """A question that a pipeline cannot answer, which is not a fault of the pipeline."""


class WorkerError(SdperfError):
    """A worker died or outlived its time limit; the next request gets a fresh one."""


class UnfitError(SdperfError):
    """The machine was not fit to be measured on: too hot, short of memory, on battery, taken."""


class ImageError(SdperfError):
    """Images cannot be compared or read: shapes differ, the file is missing or damaged."""


class RecordError(SdperfError):
    """A saved run, baseline or record cannot be read: truncated, hostile, of another format."""


class PackageError(SdperfError):
    """Versions of packages cannot be installed: they do not exist, conflict or do not build."""


class EngineError(SdperfError):
    """An engine is missing, cannot take a pipeline, or cannot keep what it converted."""
