"""All settings of a user: one table with the name, kind, default and meaning of each.

From it come the options and ini settings of pytest, ``KEY=VALUE`` of ``sdperf ab``, the
profile file, the choices of a search, the flags of the commands, the options that messages name and
``docs/options.md``. Every other module names a setting by its constant here, such as
``f"{STEPS} 20"``, and never writes the name itself. pytest imports this in every session where
sdperf is installed, and the lowest modules name options in their messages, so it imports no other
module.
"""

from __future__ import annotations

from typing import Any, Final

from sdperf.settings import kinds
from sdperf.settings.kinds import AUTO, Setting, whole

DEVICES: Final = ("auto", "mps", "cuda", "cpu")
PRECISIONS: Final = ("fp32", "fp16", "bf16")
MODES: Final = ("sync", "async")
TASKS: Final = ("text-to-image", "image-to-image", "inpaint", "edit", "control")
POLICIES: Final = ("strict", "warn", "off")
ENGINES: Final = (
    "torch",
    "onnx",
    "onnx-int8",
    "onnx-coreml",
    "openvino",
    "mlx",
    "mlx-compile",
    "coreml",
    "coreml-ane",
    "coreml-6bit",
    "coreml-4bit",
)
OWN_GUIDANCE: Final = "none"
"""The word that a user types in place of a scale to leave guidance to the pipeline."""


_TEXT: Final = kinds.text()
_NAME: Final = r"[^\W\d]\w*"
_ANY_TEXT: Final = kinds.text(may_be_empty=True)


def _switch(key: str, about: str) -> Setting[str]:
    return Setting(key, "", _ANY_TEXT, about)


MODEL: Final = Setting(
    "model",
    "NAME",
    _TEXT,
    "what to run: 'embedded' (ships with sdperf), a local diffusers folder, or a hub id such "
    "as stable-diffusion-v1-5/stable-diffusion-v1-5",
    default="embedded",
    fields=("model",),
)
LORA: Final = Setting(
    "lora",
    "FILE",
    kinds.LORA,
    "LoRAs to load into the model, by default at scale 1 and as layers of their own; fused ones "
    "are merged into its weights (needs peft)",
    fields=("lora",),
)
DEVICE: Final = Setting("device", "NAME", kinds.choice(DEVICES), "where to run", AUTO)
PRECISION: Final = Setting(
    "precision",
    "NAME",
    kinds.choice(PRECISIONS),
    "number format of weights and activations",
    AUTO,
    auto="runs what the device runs natively",
    fields=("precision",),
    is_list=True,
)
MODE: Final = Setting(
    "mode",
    "NAME",
    kinds.choice(MODES),
    "plain calls, or those that overlap what is not the device's",
    "sync,async",
    fields=("mode",),
    is_list=True,
)
WORKERS: Final = Setting(
    "workers",
    "N",
    whole(1, 1024),
    "processes that share the images; s/image is a round's time over its images, so an image of "
    "two workers takes about twice that",
    AUTO,
    auto="runs 1, 2 and 4 up to the performance cores",
    fields=("workers",),
    is_list=True,
)
THREADS: Final = Setting(
    "threads",
    "N",
    whole(1, 1024),
    "CPU threads of each worker",
    AUTO,
    auto="divides the performance cores among them, fewer leave cores to what runs beside the "
    "networks",
    fields=("threads",),
    is_list=True,
)
OPTIMISATIONS: Final = Setting(
    "optimisations",
    "NAMES",
    kinds.NAMES,
    "sets of optimisations such as channels_last+compile; none is the plain pipeline, default "
    "what helps on the device",
    AUTO,
    auto="is default for gains and none for all else",
    fields=("optimisations",),
    is_list=True,
)
ENGINE: Final = Setting(
    "engine",
    "NAME",
    kinds.matching(
        ", ".join((*ENGINES, "external:COMMAND")), "|".join((*ENGINES, "external:(?s:.*)"))
    ),
    "what runs the networks; external:COMMAND is a program of yours that draws (docs/external.md)",
    "torch",
    auto="takes what is installed and native, and skips the rest with a reason",
    fields=("engine",),
    is_list=True,
)
PROFILE: Final = Setting(
    "profile",
    "FILE",
    kinds.PATH,
    "settings that sdperf tune found: they take the place of the ini settings and defaults, "
    "options typed beside it win",
)
STEPS: Final = Setting(
    "steps",
    "N",
    whole(1, 10_000),
    "denoising steps of an image",
    AUTO,
    auto="is the model's own",
    fields=("num_inference_steps",),
)
SCALE: Final = kinds.number(0, 1000)
GUIDANCE: Final = Setting(
    "guidance",
    "X",
    kinds.or_word(OWN_GUIDANCE, SCALE),
    f"guidance scale; {OWN_GUIDANCE} leaves it to the pipeline",
    AUTO,
    auto="is the model's own",
    fields=("guidance_scale",),
)
SIZE: Final = Setting(
    "size",
    "WxH",
    kinds.PIXELS,
    "image size",
    AUTO,
    auto="is the model's own",
    fields=("width", "height"),
)
IMAGES: Final = Setting("images", "N", whole(), "images in a batch of a throughput case", "4")
PROMPTS: Final = Setting(
    "prompts",
    "FILE",
    kinds.PATH,
    "text file with one prompt a line",
    default=AUTO,
    auto="is a built-in list",
    fields=("prompts",),
)
NEGATIVE_PROMPT: Final = Setting(
    "negative-prompt",
    "TEXT",
    _ANY_TEXT,
    "negative prompt of all images",
    fields=("negative_prompt",),
)
SEED: Final = Setting(
    "seed",
    "N",
    whole(0, 2**63 - 2**16 - 1),
    "seed of the first image's noise; image i takes seed + i",
    "0",
    fields=("seed",),
)
SCHEDULER: Final = Setting(
    "scheduler",
    "CLASS",
    kinds.matching(
        "the name of a class of diffusers, such as EulerDiscreteScheduler",
        r"[A-Za-z_][A-Za-z0-9_]{0,99}",
    ),
    "what steps the noise away",
    AUTO,
    auto="is the model's own",
    fields=("scheduler",),
)
TASK: Final = Setting(
    "task",
    "NAME",
    kinds.choice(TASKS),
    "what is drawn from: the prompt alone, or a picture beside it (docs/pictures-in.md); a folder "
    "of a text-to-image model is opened for the task without more memory",
    AUTO,
    auto="is what the pipeline's class does",
)
INPUT_IMAGE: Final = Setting(
    "input-image",
    "FILE",
    kinds.PATH,
    "PNG or JPEG that the images start from, scaled and cut to their size",
    AUTO,
    auto="is the picture that ships, where the pipeline needs one",
    fields=("picture",),
)
MASK: Final = Setting(
    "mask",
    "FILE",
    kinds.PATH,
    "PNG or JPEG that is white where the input image is drawn again",
    AUTO,
    auto="is the middle of the picture, where the pipeline takes a mask",
)
STRENGTH: Final = Setting(
    "strength",
    "X",
    kinds.number(0.01, 1),
    "how much of the input image is drawn again: the share of the steps that are made",
    AUTO,
    auto="is the default of the pipeline's call",
)
ROUNDS: Final = Setting("rounds", "N", whole(), "timed rounds of a latency case", "5")
BATCH_ROUNDS: Final = Setting(
    "batch-rounds", "N", whole(), "timed rounds of a throughput case", "2"
)
WARMUP: Final = Setting(
    "warmup",
    "N",
    whole(0),
    "untimed images of each worker before them; the first call comes on top",
    "1",
)
TIMEOUT: Final = Setting(
    "timeout", "DURATION", kinds.DURATION, "time limit of one generation", "10m"
)
CLUSTER: Final = Setting(
    "cluster",
    "URL",
    kinds.optional(kinds.CLUSTER),
    "scheduler of a Dask cluster on whose workers to run (docs/cluster.md; guards and watching are "
    "off, they would see this machine)",
)
SUBJECT: Final = Setting(
    "subject",
    "MODULE:FUNCTION",
    kinds.matching("module:function, such as my_pipelines:make", rf"{_NAME}(\.{_NAME})*:{_NAME}"),
    "your own code under test: called with a PipelineRequest, returns the pipeline to measure",
)
GUARDS: Final = Setting(
    "guards",
    "POLICY",
    kinds.choice(POLICIES),
    "what to do about a machine that is not fit: strict refuses to measure, also where it "
    "cannot be known (strict,allow=clock-governor,allow=... lets those pass), warn says so, "
    "both redo rounds in which it did not hold still; off looks at nothing",
    "warn",
)
TRACE: Final = Setting(
    "trace",
    "PATH",
    kinds.optional(kinds.file_such_as("trace.json or trace.json.gz")),
    "write a Chrome trace of one image of the first case to it",
)
HTML: Final = Setting(
    "html",
    "PATH",
    kinds.optional(kinds.PAGE),
    "write the whole run as one page to it (extra report)",
)
MAX_SLOWDOWN: Final = Setting(
    "max-slowdown",
    "PERCENT",
    kinds.SHARE,
    "how much slower a case may be than what it is compared with",
    AUTO,
    auto="is 3% with five accepted sessions or more, and 25% (confirmed in fresh processes) before "
    "that",
)
MAX_SUITE_SLOWDOWN: Final = Setting(
    "max-suite-slowdown",
    "PERCENT",
    kinds.SHARE,
    "how much slower all cases together may be, with five accepted sessions or more",
    "3%",
)
MAX_GROWTH: Final = Setting(
    "max-growth",
    "PERCENT+SIZE",
    kinds.GROWTH,
    "how much peak memory may grow; a case fails when both limits are exceeded",
    "10%+64MiB",
)
MAX_LOAD: Final = Setting(
    "max-load",
    "PERCENT+DURATION",
    kinds.START,
    "how much longer loading may take in a fresh process; a case fails when both limits are "
    "exceeded and so again in two more, five accepted sessions or more narrow them",
    "50%+2s",
)
MAX_FIRST_CALL: Final = Setting(
    "max-first-call",
    "PERCENT+DURATION",
    kinds.START,
    "how much longer the first call (compilation) may take in a fresh process, judged as loading "
    "is",
    "50%+2s",
)
MAX_TAIL: Final = Setting(
    "max-tail",
    "PERCENT",
    kinds.SHARE,
    "how much p95 over the median round may grow, with twenty rounds or more (from five accepted "
    "sessions on at most 25%)",
    "50%",
)
MAX_LEAK: Final = Setting(
    "max-leak",
    "SIZE",
    kinds.BYTES,
    "how much memory may grow from picture to picture, in a case of 48 rounds or more",
    "256KiB",
)
MAX_ENERGY: Final = Setting(
    "max-energy",
    "JOULES",
    kinds.optional(kinds.JOULES),
    "how much energy a picture may take; where it is not known, that is said",
)
MIN_CORES: Final = Setting(
    "min-cores",
    "N",
    kinds.optional(kinds.positive("a number of cores")),
    "how many cores a picture has to keep busy at least (not: single stages)",
)
SOAK: Final = Setting(
    "soak",
    "DURATION",
    kinds.optional(kinds.DURATION),
    "run benchmarks/test_soak.py for so long a case: does memory grow, do rounds become slower?",
)
BUDGET: Final = Setting(
    "budget",
    "DURATION",
    kinds.optional(kinds.DURATION),
    "end in about so long: by its first image fewer rounds are measured, and then the most "
    "telling cases only; what is left out is said (measuring suspects again comes on top)",
)
PROCESSES: Final = Setting(
    "processes",
    "N",
    whole(),
    "fresh processes to measure each case in; some pick slower kernels than others",
    "1",
)
CONFIRM: Final = Setting(
    "confirm",
    "DURATION",
    kinds.duration(takes_zero=True),
    "time for measuring suspicious cases again before they fail; 0 judges without",
    "15m",
)
BASELINES: Final = Setting(
    "baselines",
    "DIR",
    kinds.PATH,
    "folder of the accepted sessions, below pytest's root folder",
    default="benchmarks/baselines",
)
CALIBRATION: Final = Setting(
    "calibration",
    "DIR",
    kinds.PATH,
    "folder of what sdperf calibrate found out, below pytest's root folder",
    default="benchmarks/calibration",
)
HISTORY: Final = Setting(
    "history",
    "URL",
    kinds.HISTORY,
    "where every run is kept",
    AUTO,
    auto="is $SDPERF_HISTORY, else .sdperf/history.db",
)
MARKDOWN: Final = Setting(
    "markdown",
    "PATH",
    kinds.optional(kinds.file_such_as("summary.md")),
    "write a summary to it, short when green, for $GITHUB_STEP_SUMMARY or a comment",
)
IN_PROCESS: Final = _switch(
    "in-process", "run in pytest's own process, for a debugger (one worker)"
)
UNWATCHED_GATES: Final = "plausibility (answers from memory, more than the device's peak)"
UNWATCHED: Final = _switch(
    "unwatched",
    "leave out the rounds that look at stages, operations and resources; not judged then: "
    f"{UNWATCHED_GATES}",
)
DURATIONS: Final = _switch("durations", "say where the session's wall time went")
RESUME: Final = _switch(
    "resume",
    "go on with the session that was interrupted in this folder: what it finished is not "
    "measured again (sdperf resume types the whole command)",
)
OPEN_ANSWERS: Final = "CHANGED, INCOMPARABLE, INCONCLUSIVE or NO BASELINE"
"""The answers of `Outcome` that are open, as the help names them."""

STRICT: Final = _switch("strict", f"fail also when an answer is open: {OPEN_ANSWERS}")
EXACT: Final = _switch(
    "exact", "fail also when images that were identical until now differ (CHANGED)"
)

_ALL: Final[tuple[Setting[Any], ...]] = tuple(
    one for one in list(vars().values()) if isinstance(one, Setting)
)
OPTIONS: Final = tuple(one for one in _ALL if not one.is_switch)
"""All settings of a pytest run that take a value, in the order of its help."""

SWITCHES: Final = tuple(one for one in _ALL if one.is_switch)
"""All settings of a pytest run that take none."""

BY_FIELD: Final = {field: one for one in OPTIONS for field in one.fields}
"""The setting of each field of `Workload` and `Variant`."""
