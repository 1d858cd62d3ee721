"""The ``--sd-*`` options and the ini settings of the same names, as text.

pytest reads this in every session where sdperf is installed, so it imports nothing of sdperf: the
names of engines, devices and the like are spelled here, and a test checks them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pytest

AUTO: Final = "auto"


@dataclass(frozen=True)
class Option:
    """One option: ``--sd-NAME VALUE``, or ``sd_NAME = VALUE`` in an ini file."""

    name: str
    metavar: str
    default: str
    help: str

    @property
    def flag(self) -> str:
        """The option on the command line."""
        return f"--sd-{self.name}"

    @property
    def ini(self) -> str:
        """The setting in an ini file."""
        return f"sd_{self.name.replace('-', '_')}"


OPTIONS: Final = (
    Option(
        "model",
        "NAME",
        "embedded",
        "what to run: 'embedded' (ships with sdperf), a local diffusers folder, or a hub id such "
        "as stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    Option("device", "NAME", AUTO, "where to run: auto, mps, cuda, cpu"),
    Option(
        "precision",
        "LIST",
        AUTO,
        "comma list of fp32, fp16, bf16; auto runs what the device runs natively",
    ),
    Option("mode", "LIST", "sync,async", "comma list of sync, async"),
    Option(
        "workers",
        "LIST",
        AUTO,
        "comma list of process counts; auto runs 1, 2 and 4 up to the performance cores",
    ),
    Option(
        "threads",
        "LIST",
        AUTO,
        "comma list of CPU threads of each worker; auto divides the performance cores among them, "
        "fewer leave cores to what runs beside the networks",
    ),
    Option(
        "optimisations",
        "LIST",
        AUTO,
        "comma list of sets of optimisations, names joined by +, such as channels_last+compile; "
        "none is the plain pipeline, default what helps on the device; auto is default "
        "for gains and none for all else",
    ),
    Option(
        "engine",
        "LIST",
        "torch",
        "comma list of what runs the networks: torch, onnx, onnx-int8, onnx-coreml, mlx, "
        "mlx-compile, coreml, coreml-ane, coreml-6bit, coreml-4bit; auto takes what is installed "
        "and native, and skips the rest with a reason",
    ),
    Option(
        "profile",
        "FILE",
        "",
        "settings that sdperf tune found: they take the place of the ini settings and defaults, "
        "options typed beside it win",
    ),
    Option("steps", "N", AUTO, "denoising steps per image; auto is the model's own"),
    Option("guidance", "X", AUTO, "guidance scale; auto is the model's, none its pipeline's own"),
    Option("size", "WxH", AUTO, "image size in pixels, such as 512x512; auto is the model's own"),
    Option("images", "N", "4", "images in a batch of a throughput case"),
    Option("prompts", "FILE", AUTO, "text file with one prompt a line; auto is a built-in list"),
    Option("negative-prompt", "TEXT", "", "negative prompt of all images"),
    Option("seed", "N", "0", "seed of the first image's noise; image i takes seed + i"),
    Option(
        "scheduler", "CLASS", AUTO, "diffusers scheduler class; auto is the model's own scheduler"
    ),
    Option("rounds", "N", "5", "timed rounds of a latency case"),
    Option("batch-rounds", "N", "2", "timed rounds of a throughput case"),
    Option(
        "warmup", "N", "1", "untimed images per worker before them; the first call comes on top"
    ),
    Option("timeout", "SECONDS", "600", "time limit of one generation"),
    Option(
        "cluster",
        "URL",
        "",
        "run on the workers of a Dask cluster: tcp://HOST:PORT or tls://HOST:PORT of its scheduler "
        "(docs/cluster.md; guards and watching are off, they would see this machine)",
    ),
    Option(
        "subject",
        "MODULE:FUNCTION",
        "",
        "your own code under test: called with a PipelineRequest, returns the pipeline to measure",
    ),
    Option(
        "guards",
        "POLICY",
        "warn",
        "what to do about a machine that is not fit: strict refuses to measure, also where it "
        "cannot be known (strict,allow=clock-governor,allow=... lets those pass), warn says so, "
        "both redo rounds in which it did not hold still; off looks at nothing",
    ),
    Option("trace", "PATH", "", "write a Chrome trace of one image of the first case to this file"),
    Option("html", "PATH", "", "write the whole run as one HTML file (extra report)"),
    Option(
        "max-slowdown",
        "PERCENT",
        AUTO,
        "with --benchmark-compare: how much slower a case may be; auto is 3% with five accepted "
        "sessions or more, and 25% (confirmed in fresh processes) before that",
    ),
    Option(
        "max-suite-slowdown",
        "PERCENT",
        "3%",
        "how much slower all cases together may be, with five accepted sessions or more",
    ),
    Option(
        "max-growth",
        "PERCENT+SIZE",
        "10%+64MiB",
        "how much peak memory may grow: a case fails when both limits are exceeded",
    ),
    Option(
        "max-load",
        "PERCENT+SECONDS",
        "50%+2s",
        "how much longer loading may take in a fresh process: a case fails when both limits are "
        "exceeded and so again in two more; five accepted sessions or more narrow them",
    ),
    Option(
        "max-first-call",
        "PERCENT+SECONDS",
        "50%+2s",
        "how much longer the first call (compilation) may take, likewise",
    ),
    Option(
        "max-tail",
        "PERCENT",
        "50%",
        "how much p95 over the median round may grow, with twenty rounds or more (from five "
        "accepted sessions on at most 25%)",
    ),
    Option(
        "max-leak",
        "SIZE",
        "256KiB",
        "how much memory may grow from picture to picture, in a case of 48 rounds or more",
    ),
    Option(
        "max-energy",
        "JOULES",
        "",
        "how much energy a picture may take, such as 300J; where it is not known, that is said",
    ),
    Option(
        "min-cores",
        "N",
        "",
        "how many cores a picture has to keep busy at least, such as 3.5 (not: single stages)",
    ),
    Option(
        "soak",
        "DURATION",
        "",
        "run benchmarks/test_soak.py for so long a case, such as 10m: does memory grow, do rounds "
        "become slower?",
    ),
    Option(
        "processes",
        "N",
        "1",
        "fresh processes to measure each case in; some pick slower kernels than others",
    ),
    Option(
        "confirm",
        "SECONDS",
        "900",
        "time for measuring suspicious cases again before they fail; 0 judges without",
    ),
    Option(
        "baselines",
        "DIR",
        "benchmarks/baselines",
        "folder of the accepted sessions, below pytest's root folder",
    ),
    Option(
        "calibration",
        "DIR",
        "benchmarks/calibration",
        "folder of what sdperf calibrate found out, below pytest's root folder",
    ),
    Option(
        "history",
        "URL",
        AUTO,
        "where every run is kept: an SQLite file, or postgresql://USER@HOST/DATABASE; auto is "
        "$SDPERF_HISTORY, else .sdperf/history.db; off keeps none",
    ),
    Option(
        "markdown",
        "PATH",
        "",
        "write a summary to this file, short when green: for $GITHUB_STEP_SUMMARY or a comment",
    ),
)
SWITCHES: Final = (
    Option("in-process", "", "", "run in pytest's own process, for a debugger (one worker)"),
    Option(
        "unwatched", "", "", "leave out the rounds that look at stages, operations and resources"
    ),
    Option("durations", "", "", "say where the session's wall time went"),
    Option(
        "resume",
        "",
        "",
        "go on with the session that was interrupted in this folder: what it finished is not "
        "measured again (sdperf resume types the whole command)",
    ),
    Option("strict", "", "", "fail also when a case has no baseline or no clear answer"),
    Option("exact", "", "", "fail also when images that were identical until now differ (CHANGED)"),
)


def add_options(parser: pytest.Parser) -> None:
    """Register the options and the ini settings of the same names."""
    group = parser.getgroup("sdperf", "Stable Diffusion benchmarks (sdperf)")
    for option in OPTIONS:
        shown = f"{option.help} ({option.default or 'none'})"
        group.addoption(option.flag, metavar=option.metavar, default=None, help=escape_help(shown))
        parser.addini(option.ini, f"default of {option.flag}", default=option.default)
    for switch in SWITCHES:
        group.addoption(
            switch.flag, action="store_true", default=None, help=escape_help(switch.help)
        )
        parser.addini(switch.ini, f"default of {switch.flag}", type="bool", default=False)


def find_value(config: pytest.Config, name: str) -> Any:
    """Return what was typed for an option, else its ini setting, else its default; unchecked."""
    option = next(option for option in (*OPTIONS, *SWITCHES) if option.name == name)
    given = config.getoption(option.flag)
    return config.getini(option.ini) if given is None else given


def escape_help(text: str) -> str:
    """Double each ``%``, which argparse takes for the beginning of a placeholder. Pure.

    >>> escape_help("3%, and up to 25%")
    '3%%, and up to 25%%'
    """
    return text.replace("%", "%%")
