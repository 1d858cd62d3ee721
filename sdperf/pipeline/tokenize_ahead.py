"""Tokenises on a host thread what the device's thread will need next.

Diffusers tokenises inside `encode_prompt`, on the thread that owns the device. A stand-in for
each tokenizer remembers how the pipeline calls it in one generation, makes the same calls for
the next prompts on another thread, and returns each result once. Nothing else is kept: a repeated
prompt is tokenised again, so that rounds do not get cheaper.

The other thread makes lists of numbers, never tensors: only the device's thread may call torch
(`docs/what-a-case-leaves-behind.md`). It turns them into tensors when it picks them up, by the
method that the tokenizer itself ends with.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

_CALL = "__call__"
_TENSORS = "return_tensors"


class TokenizeAhead:
    """Replaces a pipeline's tokenizers while it is entered.

    Example:
        ```python
        with TokenizeAhead(pipeline) as ahead:
            with ahead.learning(["red apple"]):
                stages.encode_prompt(["red apple"])
            ahead.prime(["a blue car"])  # on another thread
            stages.encode_prompt(["a blue car"])  # finds its token ids ready
        ```
    """

    def __init__(self, pipeline: Any, *, batches: int = 4) -> None:
        """Prepare stand-ins.

        Args:
            pipeline: A `diffusers.DiffusionPipeline`.
            batches: The most primed batches that are kept; the oldest is dropped.
        """
        self._pipeline = pipeline
        self._tokenizers = {
            name: _TokenizerAhead(tokenizer, batches)
            for name, tokenizer in pipeline.components.items()
            if name.startswith("tokenizer") and tokenizer is not None
        }

    def __enter__(self) -> Self:
        for name, ahead in self._tokenizers.items():
            # Not by the pipeline's own setter, which would write the stand-in into its config.
            object.__setattr__(self._pipeline, name, ahead)
        return self

    def __exit__(self, *_: object) -> None:
        for name, ahead in self._tokenizers.items():
            object.__setattr__(self._pipeline, name, ahead.tokenizer)

    @contextlib.contextmanager
    def learning(self, prompts: Sequence[str]) -> Iterator[None]:
        """Record how the pipeline tokenises, while it encodes these prompts on this thread."""
        for ahead in self._tokenizers.values():
            ahead.start_learning()
        try:
            yield
        finally:
            for ahead in self._tokenizers.values():
                ahead.finish_learning(list(prompts))

    def prime(self, prompts: Sequence[str]) -> None:
        """Tokenise a batch in the learned way, for one later encoding; call it on a host thread.

        Before `learning` it does nothing.
        """
        for ahead in self._tokenizers.values():
            ahead.prime(list(prompts))


class _Call(NamedTuple):
    """One call of a tokenizer, comparable: a method, a text or texts, and keyword arguments."""

    method: str
    text: str | tuple[str, ...]
    keywords: tuple[tuple[str, Any], ...]

    def run(self, tokenizer: Any) -> Any:
        text = self.text if isinstance(self.text, str) else list(self.text)
        return getattr(tokenizer, self.method)(text, **dict(self.keywords))

    def run_ahead(self, tokenizer: Any) -> Callable[[], Any] | None:
        """Make the call without tensors, on any thread.

        Returns:
            A function that finishes the result on the thread that needs it; ``None`` where the
            tokenizer's result cannot be turned into tensors later.
        """
        keywords = dict(self.keywords)
        kind = keywords.pop(_TENSORS, None)
        if kind is None:
            result = self.run(tokenizer)
            return lambda: result
        result = self._replace(keywords=tuple(sorted(keywords.items()))).run(tokenizer)
        convert = getattr(result, "convert_to_tensors", None)
        if convert is None:
            return None
        # Without tensors, a tokenizer removes the batch's axis of a single text.
        is_single = isinstance(self.text, str)
        return lambda: convert(kind, prepend_batch_axis=is_single)

    def moved(self, learned: Sequence[str], prompts: Sequence[str]) -> list[_Call]:
        """Return the same call for other prompts; a text that was not a prompt stays the same."""
        if self.text == tuple(learned):
            return [self._replace(text=tuple(prompts))]
        if self.text in learned:
            place = learned.index(str(self.text))
            return [self._replace(text=prompt) for prompt in prompts[place :: len(learned)]]
        return [self]


class _TokenizerAhead:
    """The stand-in of one tokenizer, which passes everything but tokenising to the tokenizer."""

    def __init__(self, tokenizer: Any, batches: int) -> None:
        self.tokenizer = tokenizer
        self._primed: deque[dict[_Call, list[Callable[[], Any]]]] = deque(maxlen=batches)
        self._learned: tuple[list[str], list[_Call]] = ([], [])
        self._recording: list[_Call] | None = None
        self._guard = threading.Lock()
        # A fast tokenizer keeps padding and truncation as state: one caller at a time.
        self._in_use = threading.Lock()

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self._answer(_CALL, args, keywords)

    def tokenize(self, *args: Any, **keywords: Any) -> Any:
        return self._answer("tokenize", args, keywords)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def start_learning(self) -> None:
        self._recording = []

    def finish_learning(self, prompts: list[str]) -> None:
        calls, self._recording = self._recording or [], None
        with self._guard:
            self._learned = (prompts, calls)
            self._primed.clear()

    def prime(self, prompts: list[str]) -> None:
        learned, calls = self._learned
        results: dict[_Call, list[Callable[[], Any]]] = {}
        for call in calls:
            for moved in call.moved(learned, prompts):
                with self._in_use:
                    finish = moved.run_ahead(self.tokenizer)
                if finish is not None:
                    results.setdefault(moved, []).append(finish)
        with self._guard:
            self._primed.append(results)

    def _answer(self, method: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        call = _as_call(method, args, keywords)
        if call is None:
            with self._in_use:
                return getattr(self.tokenizer, method)(*args, **keywords)
        if self._recording is not None:
            self._recording.append(call)
        with self._guard:
            primed = next(
                (results[call].pop() for results in self._primed if results.get(call)), None
            )
        return self._run(call) if primed is None else primed()

    def _run(self, call: _Call) -> Any:
        with self._in_use:
            return call.run(self.tokenizer)


def _as_call(method: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> _Call | None:
    """Return the call in comparable form; ``None`` for a call that is passed on unchanged."""
    plain = all(value is None or isinstance(value, bool | int | str) for value in keywords.values())
    if len(args) != 1 or not plain:
        return None
    text = args[0]
    if isinstance(text, list) and all(isinstance(item, str) for item in text):
        text = tuple(text)
    elif not isinstance(text, str):
        return None
    return _Call(method, text, tuple(sorted(keywords.items())))
