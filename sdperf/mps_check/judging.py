"""Compares a recorded generation with the MPS kernels of a version of torch. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from packaging.version import Version

from sdperf.mps_check.calls import Argument, MpsRecording, OperatorCall, SeenTensor
from sdperf.mps_check.dispatch import DispatchTable, versions_with_kernel
from sdperf.mps_check.limits import Certainty, Effect, Limit, Unseen
from sdperf.record.stages import StageName

FORMAT_VERSION: Final = 1
"""Version of the JSON format; it increases when a field changes its meaning or is removed."""

HARMFUL: Final[tuple[Effect, ...]] = ("error", "crash", "wrong", "fallback")
"""Effects that make a generation on MPS fail or go wrong; other effects are advice."""

_SEVERITY: Final[tuple[Effect, ...]] = ("crash", "error", "wrong", "fallback", "slow", "differs")
_NO_KERNEL: Final = "no-kernel"
_TO_CPU: Final = "registered-for-cpu"
_IN_PYTHON: Final = "registered-in-python"
_TWO_DEVICES: Final = "two-devices"
_MAY_MIX: Final = ("_to_copy", "copy_", "index", "_unsafe_index", "index_put", "index_put_", "set_")


@dataclass(frozen=True)
class Place:
    """A place in the model.

    Attributes:
        module: Path of the module; empty outside all of them.
        line: Source file and line.
        stage: Stage of the generation.
        calls: Number of calls there.
    """

    module: str
    line: str
    stage: StageName
    calls: int


@dataclass(frozen=True)
class MpsFinding:
    """One fault that would happen on MPS, with all its places.

    Attributes:
        id: Name of the limit, or of the rule of dispatch.
        effect: The kind of harm.
        title: What happens.
        operator: The operator; several of a limit are separate findings.
        certainty: ``suspected`` where no report shows exactly this.
        condition: The unknown condition that it depends on, such as ``on macOS >=15``.
        example: The input tensors of one call.
        remedy: What to do.
        sources: Issues and pull requests.
        note: An open question about it.
        calls: Number of calls in the recorded generation.
        places: Its places, the most frequent first.
    """

    id: str
    effect: Effect
    title: str
    operator: str
    certainty: Certainty
    condition: str
    example: str
    remedy: str
    sources: tuple[str, ...]
    note: str
    calls: int
    places: tuple[Place, ...]

    @property
    def is_harmful(self) -> bool:
        """Whether the image would fail, be wrong, or not be made on the GPU."""
        return self.effect in HARMFUL

    @property
    def is_certain(self) -> bool:
        """Whether it was reported for exactly this, and depends on no unknown condition."""
        return self.certainty == "reported" and not self.condition


@dataclass(frozen=True)
class Judgement:
    """The judgement of a generation on MPS.

    Attributes:
        torch: Version that was judged.
        source: Source of its operators.
        knows_library: Whether kernels that are registered in C++ only are known.
        note: An open question about that; empty without one.
        limits: The date up to which reports on limits were read; may be empty.
        macos: Version that was judged; ``None`` where it was not given.
        chip: Chip that was judged; ``None`` where it was not given.
        model: The model of the generation.
        precision: Number format.
        height: Pixels; ``None`` where only the pipeline knows.
        width: Pixels; the same.
        frames: Frames of a video; ``None`` of a picture.
        steps: Denoising steps recorded.
        has_values: Whether all operators computed.
        operators: Calls recorded.
        distinct: Distinct operators.
        findings: The worst first.
        unjudged: Unknown operators, with their numbers of calls.
        unseen: Known traps that no record of operators shows.
    """

    torch: str
    source: str
    knows_library: bool
    note: str
    limits: str
    macos: str | None
    chip: str | None
    model: str
    precision: str
    height: int | None
    width: int | None
    frames: int | None
    steps: int
    has_values: bool
    operators: int
    distinct: int
    findings: tuple[MpsFinding, ...]
    unjudged: dict[str, int]
    unseen: tuple[Unseen, ...]

    def fails(self, *, strict: bool) -> bool:
        """Whether a harmful fault was found; strict also counts uncertain ones."""
        return bool(self.unjudged and strict) or any(
            finding.is_harmful and (strict or finding.is_certain) for finding in self.findings
        )


def judge_recording(
    recording: MpsRecording,
    table: DispatchTable,
    limits: Iterable[Limit],
    unseen: Iterable[Unseen],
    *,
    model: str,
    macos: Version | None = None,
    chip: str | None = None,
    reading: str = "",
) -> Judgement:
    """Judge every call of a recording.

    Args:
        recording: The recorded generation.
        table: The routes of operators in the version.
        limits: The known limits of the version.
        unseen: Known traps that a recording cannot show.
        model: The model of the generation, for people.
        macos: The system's version; ``None`` makes findings conditional that depend on it.
        chip: The chip's name, such as ``Apple M2``; ``None`` makes findings conditional, and leaves
            out limits of virtual machines only.
        reading: The date up to which reports on limits were read.
    """
    held = [limit for limit in limits if limit.holds_for_torch(table.version)]
    held = [limit for limit in held if macos is None or limit.macos.contains(macos)]
    held = [limit for limit in held if limit.holds_for_chip(chip)]
    hits: dict[tuple[str, str], list[tuple[OperatorCall, int]]] = {}
    rules: dict[str, Limit] = {limit.id: limit for limit in held}
    unjudged: Counter[str] = Counter()
    naming: dict[str, list[Limit]] = {}
    for call, count in recording.calls.items():
        if call.operator not in naming:
            naming[call.operator] = [limit for limit in held if limit.names(call)]
        concerned = [limit for limit in naming[call.operator] if limit.concerns(call)]
        is_explained = any(limit.effect == "slow" for limit in concerned)
        for rule in _dispatch_rules(call, table):
            if rule != _IN_PYTHON or not is_explained:
                hits.setdefault((rule, call.operator), []).append((call, count))
        if table.letter(call.operator) in (None, "-"):
            unjudged[call.operator] += count
        for limit in concerned:
            hits.setdefault((limit.id, call.operator), []).append((call, count))
    found = [
        _from_limit(rules[rule], operator, calls, macos, chip)
        if rule in rules
        else _from_dispatch(rule, operator, calls, table)
        for (rule, operator), calls in hits.items()
    ]
    found.sort(key=lambda each: (not each.is_certain, _SEVERITY.index(each.effect), -each.calls))
    return Judgement(
        torch=str(table.version),
        source=table.source,
        knows_library=table.knows_library,
        note=table.note,
        limits=reading,
        macos=None if macos is None else str(macos),
        chip=chip,
        model=model,
        precision=recording.precision,
        height=recording.height,
        width=recording.width,
        frames=recording.frames,
        steps=recording.steps,
        has_values=recording.has_values,
        operators=recording.operators,
        distinct=len({call.operator for call in recording.calls}),
        findings=tuple(found),
        unjudged=dict(unjudged.most_common()),
        unseen=tuple(unseen),
    )


def describe_inputs(call: OperatorCall) -> str:
    """Describe the input tensors, such as ``query float16 (2, 8, 4096, 40)``."""
    return ", ".join(
        f"{name} {_describe(value)}"
        for name, value in call.arguments
        if isinstance(value, SeenTensor) or _holds_tensors(value)
    ) or ", ".join(f"gives {_describe(each)}" for each in call.outputs)


def _dispatch_rules(call: OperatorCall, table: DispatchTable) -> Iterator[str]:
    letter = table.letter(call.operator)
    if letter == "x":
        yield _NO_KERNEL
    elif letter == "c":
        yield _TO_CPU
    elif letter == "p":
        yield _IN_PYTHON
    devices = {each.device for each in call.inputs if each.shape}
    if len(devices) > 1 and call.name not in _MAY_MIX:
        yield _TWO_DEVICES


def _from_limit(
    limit: Limit,
    operator: str,
    calls: list[tuple[OperatorCall, int]],
    macos: Version | None,
    chip: str | None,
) -> MpsFinding:
    conditions = [f"on macOS {limit.macos}"] if str(limit.macos) and macos is None else []
    conditions += [f"on {limit.chips}"] if limit.chips and chip is None else []
    return MpsFinding(
        id=limit.id,
        effect=limit.effect,
        title=limit.title,
        operator=operator,
        certainty=limit.certainty,
        condition=", ".join(conditions),
        example=describe_inputs(calls[0][0]),
        remedy=limit.remedy,
        sources=limit.sources,
        note=limit.note,
        calls=sum(count for _, count in calls),
        places=_places(calls),
    )


def _from_dispatch(
    rule: str, operator: str, calls: list[tuple[OperatorCall, int]], table: DispatchTable
) -> MpsFinding:
    later = [one for one in versions_with_kernel(operator) if Version(one) > table.version]
    newer = f"use torch {later[0]} or later, which has a kernel; or " if later else ""
    effects: dict[str, Effect] = {_TO_CPU: "fallback", _IN_PYTHON: "slow"}
    title, remedy = {
        _NO_KERNEL: (
            f"torch {table.version} has no kernel for MPS",
            f"{newer}replace the operator, or run this part on the CPU; "
            "PYTORCH_ENABLE_MPS_FALLBACK=1 makes it a copy to the CPU and back at each call",
        ),
        _TO_CPU: (
            "goes to the CPU and back at each call, with a warning at the first one",
            f"{newer}replace the operator, or call it less often",
        ),
        _IN_PYTHON: (
            "is taken apart in Python at each call: several kernels, and the interpreter's time",
            f"{newer}call it less often, or measure what it costs",
        ),
        _TWO_DEVICES: (
            "gets tensors of the CPU and of MPS",
            "move them to one device before: tensor.to(other.device)",
        ),
    }[rule]
    return MpsFinding(
        id=rule,
        effect=effects.get(rule, "error"),
        title=title,
        operator=operator,
        certainty="reported",
        condition="" if table.knows_library else "unless torch registers it in C++ only",
        example=describe_inputs(calls[0][0]),
        remedy=remedy,
        sources=(table.source,),
        note=_python_note(operator, table) if rule == _IN_PYTHON else "",
        calls=sum(count for _, count in calls),
        places=_places(calls),
    )


def _python_note(operator: str, table: DispatchTable) -> str:
    place = table.in_python.get(operator.rpartition("::")[2], "")
    return f"registered at {place}" if place else ""


def _places(calls: list[tuple[OperatorCall, int]]) -> tuple[Place, ...]:
    counts: Counter[tuple[str, str, StageName]] = Counter()
    for call, count in calls:
        counts[call.module, call.line, call.stage] += count
    return tuple(
        Place(module, line, stage, count) for (module, line, stage), count in counts.most_common()
    )


def _holds_tensors(value: Argument) -> bool:
    return isinstance(value, tuple) and any(isinstance(item, SeenTensor) for item in value)


def _describe(value: Argument) -> str:
    if isinstance(value, SeenTensor):
        layout = "" if value.is_contiguous else f" strides {value.strides}"
        device = "" if value.device == "mps" else f" on the {value.device.upper()}"
        return f"{value.dtype} {value.shape}{layout}{device}"
    if isinstance(value, tuple):
        return f"[{', '.join(_describe(item) for item in value)}]"
    return str(value)
