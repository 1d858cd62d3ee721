"""One training loop for both phases: time-driven rate, averaged weights, optional CUDA graph."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Settings:
    """How one phase is trained.

    Attributes:
        seconds: Wall-clock budget after compilation; the learning rate reaches 0 when it is spent.
        batch_size: Samples a step, for the reported speed.
        learning_rate: At its peak.
        weight_decay: Of AdamW.
        warmup: Share of the budget over which the learning rate rises from 0.
        cuda_graph: Capture the step once and replay it; falls back to plain steps if capture fails.
        log_every: Steps between two log lines.
        max_steps: Stop here even if there is time left; None for no limit.
    """

    seconds: float
    batch_size: int
    learning_rate: float
    weight_decay: float = 1e-3
    warmup: float = 0.04
    cuda_graph: bool = True
    log_every: int = 100
    max_steps: int | None = None


@dataclass
class Report:
    """What happened: one row a log line, and totals."""

    curve: list[dict[str, float]] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    startup_s: float = 0.0
    captured: bool = False
    recoveries: int = 0


class AverageWeights:
    """A power-function average of the weights: its width is a fixed share of the run.

    So early history fades.

    Source: Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models",
    2024, eq. 3; exponent 16.97 is a relative width of 5 % of the run.
    """

    def __init__(self, parameters: Sequence[Tensor], exponent: float = 16.97) -> None:
        self._parameters = list(parameters)
        self._exponent = exponent
        self.values = [p.detach().clone() for p in self._parameters]
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        self._updates += 1
        decay = (1 - 1 / self._updates) ** (self._exponent + 1)
        torch._foreach_lerp_(self.values, self._parameters, 1 - decay)


def compute_learning_rate(progress: float, peak: float, warmup: float) -> float:
    """Linear rise over ``warmup``, then half a cosine down to 0 at progress 1."""
    if progress < warmup:
        return peak * max(progress / warmup, 0.02)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def train(
    name: str,
    parameters: Sequence[nn.Parameter],
    fill: Callable[[float], None],
    compute_loss: Callable[[], Tensor],
    settings: Settings,
    log: Callable[[str], None],
    milestones: Sequence[tuple[float, Callable[[list[Tensor]], None]]] = (),
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[list[Tensor], Report]:
    """Trains ``parameters`` in place until the time budget is spent.

    All randomness is drawn in ``fill`` (outside the captured step) into buffers that
    ``compute_loss`` reads, so the captured step holds no random number generator and a failed
    capture leaves nothing behind.

    Args:
        name: For the log.
        parameters: What is trained.
        fill: Takes the progress in [0, 1] and writes the next batch into fixed buffers; must not
            wait for the device.
        compute_loss: Takes no argument, reads the buffers, returns the scalar loss.
        settings: See `Settings`.
        log: Takes one line.
        milestones: (progress, action) pairs; each action is called once with the averaged weights.
        clock: Seconds since some fixed moment.

    Returns:
        The averaged weights, in the order of ``parameters``, and the report.
    """
    begin = clock()
    device = parameters[0].device
    on_cuda = device.type == "cuda"
    rate: Tensor | float = torch.tensor(0.0, device=device) if on_cuda else 0.0
    optimizer = torch.optim.AdamW(
        parameters,
        lr=rate,
        betas=(0.9, 0.99),
        weight_decay=settings.weight_decay,
        fused=on_cuda or None,
        capturable=on_cuda,
    )
    loss_sum = torch.zeros((), device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = compute_loss()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        loss_sum.add_(loss.detach())

    def set_rate(value: float) -> None:
        for group in optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value

    report = Report()
    set_rate(settings.learning_rate * 0.02)
    run_step = _warm_up_and_capture(
        step, fill, optimizer, on_cuda, settings.cuda_graph, report, log
    )
    average = AverageWeights(parameters)
    snapshot = [p.detach().clone() for p in parameters]
    scale, pending = 1.0, sorted(milestones, key=lambda item: item[0])
    loss_sum.zero_()
    if on_cuda:
        torch.cuda.synchronize()
    report.startup_s = clock() - begin
    log(f"{name}: ready after {report.startup_s:.1f} s (CUDA graph: {report.captured})")
    start = last = clock()
    since = 0
    while True:
        elapsed = clock() - start
        progress = elapsed / max(settings.seconds, 1e-6)
        done = progress >= 1 or (
            settings.max_steps is not None and report.steps >= settings.max_steps
        )
        if since and (done or since >= settings.log_every):
            mean = float(loss_sum) / since
            now = clock()
            speed = since * settings.batch_size / (now - last)
            learning_rate = scale * compute_learning_rate(
                progress, settings.learning_rate, settings.warmup
            )
            if math.isfinite(mean):
                _copy(snapshot, parameters)
            else:
                scale *= 0.5
                report.recoveries += 1
                _restore(parameters, average, snapshot, optimizer)
                log(f"{name}: loss was not finite; weights restored, learning rate halved")
            report.curve.append({"step": report.steps, "loss": mean, "seconds": now - start})
            log(
                f"{name}: step {report.steps} loss {mean:.4f} lr {learning_rate:.2e} "
                f"{speed:.0f} samples/s {now - start:.0f}/{settings.seconds:.0f} s"
            )
            loss_sum.zero_()
            last, since = now, 0
        if done:
            break
        if pending and progress >= pending[0][0]:
            pending.pop(0)[1](average.values)
        set_rate(scale * compute_learning_rate(progress, settings.learning_rate, settings.warmup))
        fill(progress)
        run_step()
        report.steps += 1
        since += 1
        if report.steps % 4 == 0 or report.steps < 64:
            average.update()
    report.seconds = clock() - start
    return average.values, report


def _warm_up_and_capture(
    step: Callable[[], None],
    fill: Callable[[float], None],
    optimizer: torch.optim.Optimizer,
    on_cuda: bool,
    wanted: bool,
    report: Report,
    log: Callable[[str], None],
) -> Callable[[], None]:
    """Runs a few steps (they compile) and tries to capture one.

    Returns:
        What to call for each further step.
    """
    if not on_cuda:
        fill(0.0)
        step()
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(4):
            fill(0.0)
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    if not wanted:
        return step
    try:
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            step()
        fill(0.0)
        graph.replay()
        torch.cuda.synchronize()
    except RuntimeError as error:
        log(f"CUDA graph capture failed, plain steps instead: {str(error)[:300]}")
        torch.cuda.synchronize()
        return step
    report.captured = True
    return graph.replay


@torch.no_grad()
def _copy(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    torch._foreach_copy_(list(targets), list(sources))


@torch.no_grad()
def _restore(
    parameters: Sequence[nn.Parameter],
    average: AverageWeights,
    snapshot: list[Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    torch._foreach_copy_(list(parameters), snapshot)
    torch._foreach_copy_(average.values, snapshot)
    for state in optimizer.state.values():
        state["exp_avg"].zero_()
        state["exp_avg_sq"].zero_()
