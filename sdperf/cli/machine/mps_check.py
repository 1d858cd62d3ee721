"""``sdperf mps-check``: would this pipeline run correctly on a Mac's GPU? It needs no Mac."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from typing import TYPE_CHECKING, Any, Final

from sdperf.cli.shared.options import add_format, add_setting
from sdperf.cli.shared.output import print_lines
from sdperf.errors import ConfigurationError, ModelError, SdperfError
from sdperf.models.sampling import choose_sampling
from sdperf.record.json import format_record
from sdperf.record.workload import DEFAULT_PROMPTS, EMBEDDED, Workload
from sdperf.settings import GUIDANCE, LORA, MODEL, PRECISION, SCHEDULER, SIZE, STEPS, SUBJECT

if TYPE_CHECKING:
    from sdperf.mps_check.calls import MpsRecording
    from sdperf.mps_check.dispatch import DispatchTable

_STEPS: Final = 2
_FORMATS: Final = ("human", "json", "markdown")
_EPILOG: Final = """\
exit status: 0 nothing known goes wrong, 1 something would raise, abort, be wrong or run on the CPU
(with --strict: or may, or nothing is known of an operator), 2 the input cannot be used

examples:
  sdperf mps-check
  sdperf mps-check --model ./my-finetune --torch-version 2.10 --macos 26.1
  sdperf mps-check --subject my_package.pipelines:fast --size 1024x1024 --format json > mps.json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command's arguments."""
    parser = subparsers.add_parser(
        "mps-check",
        help="tell what would fail, be wrong or fall back on a Mac's GPU, without a Mac",
        description="Generate one image on the CPU with stand-ins for MPS tensors, record every "
        "operator with its\nnumber formats, shapes and layouts, and compare them with what a "
        "version of torch registers for\nMPS and with a sourced list of its known limits and "
        "bugs. It knows nothing of numerics, speed\nand memory.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_setting(parser, MODEL, default=EMBEDDED)
    add_setting(parser, SUBJECT)
    add_setting(parser, LORA)
    parser.add_argument(
        "--attention", metavar="NAME", help="sliced, or a backend of diffusers (the model's own)"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="judge the denoiser as compiled, by what is known of torch.compile on MPS",
    )
    add_setting(parser, PRECISION, default="fp16")
    add_setting(parser, STEPS, default=_STEPS)
    for setting in (GUIDANCE, SIZE, SCHEDULER):
        add_setting(parser, setting)
    parser.add_argument(
        "--torch-version", metavar="V", help="judge another version of torch (the installed one)"
    )
    parser.add_argument(
        "--macos", metavar="V", help="the Mac's system (this one's; unknown elsewhere)"
    )
    parser.add_argument(
        "--chip",
        metavar="NAME",
        help="the Mac's chip, such as 'Apple M2' (this one's; else unknown)",
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument(
        "--values", action="store_true", help="compute everything, not only what is small"
    )
    amount.add_argument(
        "--meta", action="store_true", help="ask --subject for weights without values or memory"
    )
    parser.add_argument("--strict", action="store_true", help="also fail on what is not certain")
    add_format(parser, *_FORMATS)
    parser.add_argument(
        "--calls", action="store_true", help="put every recorded call into the JSON"
    )


def run(arguments: argparse.Namespace) -> int:
    """Record one generation, judge it, and print the result."""
    if arguments.calls and arguments.format != "json":
        raise ConfigurationError("--calls needs JSON", hint="add --format json")
    if arguments.meta and arguments.subject is None:
        raise ConfigurationError(
            "--meta is for a subject of yours", hint="add --subject, or leave it out"
        )
    from sdperf.mps_check.dispatch import load_dispatch_table, parse_version
    from sdperf.mps_check.judging import FORMAT_VERSION, judge_recording
    from sdperf.mps_check.limits import load_limits, load_reading, load_unseen

    workload = _make_workload(arguments)
    macos = arguments.macos or platform.mac_ver()[0]
    version = parse_version("--macos", macos) if macos else None
    table = load_dispatch_table(arguments.torch_version, _installed_torch())
    recording = _record(arguments, workload, table)
    judgement = judge_recording(
        recording,
        table,
        load_limits(),
        load_unseen(),
        model=arguments.subject or arguments.model,
        macos=version,
        chip=arguments.chip or _own_chip(),
        reading=load_reading(),
    )
    if arguments.format == "json":
        calls = _format_calls(recording) if arguments.calls else {}
        document = {"format_version": FORMAT_VERSION, **format_record(judgement), **calls}
        print(json.dumps(document, indent=2))
    elif arguments.format == "markdown":
        from sdperf.report.text.mps_check import format_judgement_markdown

        print(format_judgement_markdown(judgement))
    else:
        from sdperf.report.text.mps_check import format_judgement

        print_lines(format_judgement(judgement))
    return 1 if judgement.fails(strict=arguments.strict) else 0


def _make_workload(arguments: argparse.Namespace) -> Workload:
    sampling = choose_sampling(arguments.model, arguments.steps, arguments.guidance)
    width, height = arguments.size or (None, None)
    return Workload(
        model=arguments.model,
        prompts=DEFAULT_PROMPTS[:1],
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=sampling.guidance_scale,
        height=height,
        width=width,
        scheduler=arguments.scheduler,
    )


def _own_chip() -> str | None:
    """Name this Mac's chip; ``None`` elsewhere."""
    if platform.system() != "Darwin":
        return None
    from sdperf.measure.environment import read_chip

    return read_chip()


def _installed_torch() -> str:
    from importlib.metadata import version

    return version("torch")


def _record(
    arguments: argparse.Namespace, workload: Workload, table: DispatchTable
) -> MpsRecording:
    from sdperf.models.failing_line import describe_failing_line
    from sdperf.models.loader import resolve_model
    from sdperf.models.subject import PipelineRequest, load_subject, plain_subject

    model = resolve_model(workload.model)
    make = plain_subject if arguments.subject is None else load_subject(arguments.subject)
    print(f"recording {arguments.subject or workload.model} ...", file=sys.stderr)
    import torch

    from sdperf.mps_check.preparing import (
        choose_attention,
        load_lora,
        made_as_on_a_mac,
        mark_compiled,
    )
    from sdperf.mps_check.recording import record_generation

    dtypes = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    device = torch.device("meta" if arguments.meta else "cpu")
    request = PipelineRequest(model, dtypes[arguments.precision], device)
    try:
        with made_as_on_a_mac():
            pipeline = make(request)
    except SdperfError:
        raise
    except Exception as error:  # a subject is the user's code
        line = describe_failing_line(error)
        raise ModelError(
            f"{arguments.subject or workload.model} made no pipeline",
            got=f"{type(error).__name__}: {error}" + ("" if line is None else f" ({line})"),
            expected="a diffusers.DiffusionPipeline",
        ) from error
    if arguments.lora is not None:
        load_lora(pipeline, arguments.lora)
    if arguments.attention is not None:
        choose_attention(pipeline, arguments.attention)
    if arguments.compile:
        mark_compiled(pipeline)
    return record_generation(
        pipeline,
        workload,
        table,
        precision=arguments.precision,
        keeps_values=arguments.values,
    )


def _format_calls(recording: MpsRecording) -> dict[str, Any]:
    """Return the recorded calls as plain values."""
    calls = []
    for call, times in recording.calls.items():
        record = format_record(call)
        calls.append(record | {"arguments": dict(record["arguments"]), "times": times})
    return {"calls": calls}
