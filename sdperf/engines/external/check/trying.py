"""Tries a program alone: a few dozen small pictures, in one process and in a fresh one."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from sdperf.engines.external.check.giving import choose_strength, list_given
from sdperf.engines.external.check.judging import Clause, GivenTrial, Trial, Trials, judge_trials
from sdperf.engines.external.check.nearness import StartedPicture, compare_nearness
from sdperf.engines.external.naming import NamedCommand
from sdperf.engines.external.piped import PipedProgram
from sdperf.engines.external.program import DrawnPicture, LoadRequest, Program
from sdperf.engines.external.protocol import GivenPicture
from sdperf.engines.external.starting import start_program
from sdperf.engines.external.template import TemplateProgram
from sdperf.errors import GenerationError, WorkerError
from sdperf.images.enlargement import find_enlargement
from sdperf.measure.clock import Clock, monotonic_clock
from sdperf.record.workload import ImageRequest, ProgramFacts, Workload

FAR_SEEDS: Final = (0, 1, 256, 65_536)
"""How far the seeds lie apart: who reads only some of their bits draws equal pictures."""

MORE_STEPS: Final = 3
SMALLEST_EDGE: Final = 64
_LONGEST_REST_S: Final = 5.0
_SHORTEST_REST_S: Final = 0.5


@dataclass(frozen=True)
class CheckRequest:
    """What is tried.

    Attributes:
        named: The program.
        prompt: Of all pictures but one.
        seed: Of the first picture.
        steps: Of most pictures.
        size: Width and height; ``None`` leaves it to the program.
        guidance: Scale; ``None`` leaves it to the program.
        threads: CPU threads that it may use.
        load: What it is told before its first picture.
        limit_s: Time limit of one picture, seconds.
        needs_picture: Whether the program draws nothing from the prompt alone: every picture starts
            from the one that ships.
    """

    named: NamedCommand
    prompt: str = "red apple"
    seed: int = 1
    steps: int = 4
    size: tuple[int, int] | None = None
    guidance: float | None = None
    threads: int = 1
    load: LoadRequest = field(default_factory=lambda: LoadRequest("", "", "fp32", "auto"))
    limit_s: float = 600.0
    needs_picture: bool = False


@dataclass(frozen=True)
class CheckBench:
    """What the check reads and waits with.

    Attributes:
        clock: Times the pictures.
        read_cpu_s: Reads the processor seconds of a program so far.
        rest: Waits so many seconds.
    """

    clock: Clock = monotonic_clock
    read_cpu_s: Callable[[Program], float | None] = lambda program: program.read_cpu_s()
    rest: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class CheckResult:
    """What the check came to.

    Attributes:
        facts: What the program says of itself; ``None`` where it never got there.
        clauses: Of the contract.
        pictures: How many were drawn.
    """

    facts: ProgramFacts | None
    clauses: Sequence[Clause]
    pictures: int = 0

    @property
    def is_kept(self) -> bool:
        """Whether no clause is broken."""
        return all(one.state != "broken" for one in self.clauses)


def check_program(
    request: CheckRequest,
    bench: CheckBench | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> CheckResult:
    """Try a program and compare it with the contract.

    Args:
        request: What is tried.
        bench: Clocks; the machine's own by default.
        say: Shows what happens now.

    Raises:
        EngineError: It cannot be started, or speaks another version.
    """
    check = _Check(request, CheckBench() if bench is None else bench, say)
    try:
        trials = check.run()
    except (WorkerError, GenerationError) as error:
        broken = Clause("the contract", "broken", str(error))
        return CheckResult(check.facts, [broken], check.made)
    finally:
        check.close()
    return CheckResult(check.facts, judge_trials(trials), check.made)


class _Check:
    def __init__(
        self, request: CheckRequest, bench: CheckBench, say: Callable[[str], None]
    ) -> None:
        self._request, self._bench, self._say = request, bench, say
        self._program: Program | None = None
        self.facts: ProgramFacts | None = None
        self.made = 0
        self._unknown_stages: set[str] = set()
        self._size = request.size
        self._needs_picture = request.needs_picture

    def run(self) -> Trials:
        """Try everything, in an order in which new pictures are new."""
        asked, steps = self._request, self._request.steps
        self._start()
        self._say("a first picture")
        first = self._draw(asked.seed + 7, steps)  # compiles, fills caches
        can_size = self.facts is not None and "size" in self.facts.accepts
        if can_size and self._size is None:
            self._size = (first.width, first.height)
        seeds = [asked.seed + far for far in FAR_SEEDS]
        self._say("new pictures, and the same ones again")
        fresh = [self._draw(seed, steps, is_examined=True) for seed in seeds]
        again = [self._draw(seed, steps) for seed in seeds]
        self._say("another prompt, more steps")
        other_prompt = self._draw(seeds[0], steps, asked.prompt + ", at night")
        more_steps = [self._draw(seeds[0], steps + more) for more in range(1, MORE_STEPS + 1)]
        tripled = [self._draw(asked.seed + 20 + k, 3 * steps) for k in range(3)]
        halved = self._draw_other_size(steps) if can_size else []
        self._say("from another picture")
        size = (fresh[0].width, fresh[0].height)
        given, drawn = self._draw_given(seeds[0], steps, size)
        given_again, _ = self._draw_given(seeds[0], steps, size)
        self._say("after a rest")
        pause_s = min(_LONGEST_REST_S, max(_SHORTEST_REST_S, 2 * fresh[-1].seconds))
        rested, afterwards_cpu_s = self._draw_rested(steps, pause_s)
        self._say("stop")
        code, leftovers = self._end()
        self._say("a fresh process")
        self._start()
        anew = self._draw(seeds[0], steps)
        return Trials(
            fresh=fresh,
            again=again,
            anew=anew,
            more_steps=more_steps,
            tripled=tripled,
            halved=halved,
            rested=rested,
            other_prompt=other_prompt,
            afterwards_cpu_s=afterwards_cpu_s,
            exit_code=code,
            leftovers=leftovers,
            asked_size=self._size if can_size else None,
            is_started_each=isinstance(self._program, TemplateProgram),
            unknown_stages=sorted(self._unknown_stages),
            given=given,
            given_again=given_again,
            nearness=compare_nearness(drawn),
            needs_picture=self._needs_picture,
        )

    def close(self) -> None:
        """End the program, whatever it does."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def _start(self) -> None:
        self.close()
        request = self._request
        self._program = start_program(request.named, request.limit_s, self._bench.clock)
        self.facts = self._program.facts
        if isinstance(self._program, TemplateProgram):  # what it has a place for, it needs
            self._needs_picture = "picture" in self.facts.accepts
        self._program.load(request.load, 10 * request.limit_s)

    def _draw(
        self,
        seed: int,
        steps: int,
        prompt: str | None = None,
        size: tuple[int, int] | None = None,
        *,
        is_examined: bool = False,
    ) -> Trial:
        trial, drawn = self._ask(seed, steps, prompt, size)
        if is_examined:
            trial = dataclasses.replace(trial, enlarged=find_enlargement(drawn.pixels))
        return trial

    def _ask(
        self,
        seed: int,
        steps: int,
        prompt: str | None = None,
        size: tuple[int, int] | None = None,
        given: GivenPicture | None = None,
    ) -> tuple[Trial, DrawnPicture]:
        assert self._program is not None
        assert self.facts is not None
        width, height = size or self._size or (None, None)
        if given is None and self._needs_picture:
            given = list_given(self.facts.accepts, size or self._size, strength=1.0)[0].given
        workload = Workload(
            model=self._request.load.model or "external",
            prompts=(self._request.prompt,),
            num_inference_steps=steps,
            guidance_scale=self._request.guidance,
            width=width,
            height=height,
        )
        image = ImageRequest(prompt or self._request.prompt, seed)
        before_s = self._bench.read_cpu_s(self._program)
        (drawn,) = self._program.generate(workload, [image], self._request.threads, 1, given)
        after_s = self._bench.read_cpu_s(self._program)
        self.made += 1
        self._unknown_stages.update(drawn.header.unknown_stages)
        known = None if before_s is None or after_s is None else after_s - before_s
        return _look_at(drawn, image, steps, known), drawn

    def _draw_other_size(self, steps: int) -> list[Trial]:
        """Ask for another size than the first picture's: one that cannot be told gives it away.

        Returns:
            Pictures of half the width and height; none where that would be too small, and twice
            the width and height is asked for once.

        Raises:
            WorkerError: A picture has another size.
        """
        assert self._size is not None
        width, height = (edge // 16 * 8 for edge in self._size)
        seed = self._request.seed
        if min(width, height) < SMALLEST_EDGE:
            self._draw(seed + 40, steps, size=(2 * self._size[0], 2 * self._size[1]))
            return []
        return [self._draw(seed + 40 + k, steps, size=(width, height)) for k in range(3)]

    def _draw_given(
        self, seed: int, steps: int, size: tuple[int, int]
    ) -> tuple[list[GivenTrial], list[StartedPicture]]:
        """Draw one seed from other pictures, with other masks and strengths, as far as told."""
        assert self.facts is not None
        trials: list[GivenTrial] = []
        pictures: list[StartedPicture] = []
        if "picture" not in self.facts.accepts:
            return trials, pictures
        for one in list_given(self.facts.accepts, size, choose_strength(steps)):
            trial, drawn = self._ask(seed, steps, given=one.given)
            named = one.start, one.mask, one.given.strength
            trials.append(GivenTrial(trial, *named))
            if (trial.width, trial.height) == size:
                pictures.append(StartedPicture(*named, one.given, drawn.pixels))
        return trials, pictures

    def _draw_rested(self, steps: int, pause_s: float) -> tuple[list[Trial], float | None]:
        assert self._program is not None
        trials, spent = [], []
        for number in range(3):
            before_s = self._bench.read_cpu_s(self._program)
            self._bench.rest(pause_s)
            after_s = self._bench.read_cpu_s(self._program)
            if before_s is not None and after_s is not None:
                spent.append(after_s - before_s)
            trials.append(self._draw(self._request.seed + 60 + number, steps))
        return trials, min(spent, default=None)

    def _end(self) -> tuple[int | None, int]:
        program = self._program
        if not isinstance(program, PipedProgram):
            return 0, 0
        code = program.end()
        return code, 0 if code is None else program.count_leftovers()


def _look_at(drawn: DrawnPicture, image: ImageRequest, steps: int, cpu_s: float | None) -> Trial:
    height, width = drawn.pixels.shape[:2]
    return Trial(
        prompt=image.prompt,
        seed=image.seed,
        steps=steps,
        sha256=hashlib.sha256(drawn.pixels.tobytes()).hexdigest(),
        width=width,
        height=height,
        seconds=drawn.latency_s,
        told_s=drawn.header.seconds,
        told_steps=drawn.header.steps,
        cpu_s=cpu_s,
    )
