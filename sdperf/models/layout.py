"""The required content of a diffusers folder, from `model_index.json` and file names alone."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sdperf.errors import ModelError
from sdperf.settings import MODEL, SUBJECT
from sdperf.units import shorten

INDEX_NAME: Final = "model_index.json"
DENOISERS: Final = ("unet", "transformer")
"""Names of the component that denoises."""

DECODERS: Final = ("vae", "movq", "vqgan")
"""Components that turn latents into pixels; the last two are Kandinsky's and Stable Cascade's."""

_OF_PIXELS: Final = ("IFPipeline", "PRXPixelPipeline")
"""Pipelines that denoise pixels and so need no decoder."""

_CASCADE_DENOISER: Final = "decoder"
"""Stable Cascade's name of its second denoiser; the first is a component of its prior."""

NOT_LOADED: Final = ("safety_checker", "feature_extractor", "image_encoder")
"""Components that a measured text-to-image pipeline does not need; they are not fetched."""

_DESCRIPTION_SUFFIXES: Final = (".json", ".txt", ".model", ".jinja")
_PICKLE_SUFFIXES: Final = (".bin", ".ckpt", ".pt", ".pth")
_WEIGHTLESS: Final = re.compile(r"(Scheduler|Processor(Pil|Fast)?|Extractor)$")
_OF_PRIOR: Final = "prior_"
"""The beginning of the names of the first half's parts, where one model has two pipelines."""

_FROM_PICTURES: Final = re.compile(r"Img2Img|Inpaint|Pix2Pix|Control|Adapter|Edit|FluxFill")
_NOT_MEASURED: Final = re.compile(
    r"Upscale|Depth2Img|ControlNetUnion|Video|Variation|SuperResolution|PaintByExample|I2I|I2V|V2V"
)
"""Pipelines with other input than a prompt, a picture of the image's size and its mask."""

_WEIGHTS: Final = re.compile(
    r"(?P<stem>diffusion_pytorch_model|model)(\.(?P<before>\w+))?"
    r"(-(?P<part>\d{5})-of-(?P<parts>\d{5}))?(\.(?P<after>\w+))?\.safetensors"
)
_VARIANT: Final = "fp16"


@dataclass(frozen=True)
class Component:
    """One part of a pipeline: its folder and the class that loads it.

    Attributes:
        name: Name of the part and of its folder, such as ``text_encoder``.
        library: ``diffusers`` or ``transformers``.
        class_name: Class in that library.
    """

    name: str
    library: str
    class_name: str

    @property
    def has_weights(self) -> bool:
        """Whether the part is a network; tokenizers and schedulers are not networks."""
        own = self.name.removeprefix(_OF_PRIOR)
        return not (own.startswith("tokenizer") or _WEIGHTLESS.search(self.class_name))

    @property
    def config_name(self) -> str | None:
        """The file that describes the part; ``None`` where the name differs between parts."""
        if self.has_weights:
            return f"{self.name}/config.json"
        if self.class_name.endswith("Scheduler"):
            return f"{self.name}/scheduler_config.json"
        return None


@dataclass(frozen=True)
class ModelIndex:
    """The parts of a pipeline that draws images, as its `model_index.json` names them.

    Attributes:
        pipeline_class: Class name in diffusers.
        components: The parts that are loaded.
        not_loaded: Parts that are not loaded: named as null, or listed in `NOT_LOADED`.
        left_out: Those of these parts that the model has.
    """

    pipeline_class: str
    components: tuple[Component, ...]
    not_loaded: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def find_denoiser(self) -> str | None:
        """Return the class name of the network that denoises; ``None`` where none is named."""
        parts = {part.name: part.class_name for part in self.components}
        return next((parts[name] for name in DENOISERS if name in parts), None)


@dataclass(frozen=True)
class FileSelection:
    """The files that make a model.

    Attributes:
        descriptions: Configurations and tokenizer files, relative, sorted.
        weights: Safetensors files, relative, sorted.
        variant: Weight variant to ask diffusers for.
    """

    descriptions: tuple[str, ...]
    weights: tuple[str, ...]
    variant: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """All files, sorted."""
        return tuple(sorted(self.descriptions + self.weights))


def parse_json_object(content: bytes, where: str) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        ModelError: The content is not JSON, or not an object.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(
            f"{where} is not valid JSON", got=str(error), hint="download the model again"
        ) from error
    if not isinstance(document, dict):
        raise ModelError(
            f"{where} cannot be used", got=type(document).__name__, expected="a JSON object"
        )
    return document


def starts_from_pictures(pipeline_class: str) -> bool:
    """Tell by a diffusers pipeline's name whether it needs a picture beside the prompt. Pure.

    >>> [starts_from_pictures(f"{name}Pipeline") for name in ("FluxControlNet", "Flux")]
    [True, False]
    """
    return _FROM_PICTURES.search(pipeline_class) is not None


def is_measured(pipeline_class: str) -> bool:
    """Tell by its name whether a pipeline draws from input that sdperf can give it. Pure.

    >>> [is_measured(f"{name}Pipeline") for name in ("FluxImg2Img", "StableDiffusionUpscale")]
    [True, False]
    """
    return _NOT_MEASURED.search(pipeline_class) is None


def parse_model_index(content: bytes, where: str) -> ModelIndex:
    """Read a `model_index.json` and check that it describes a pipeline that draws images.

    Args:
        content: The file.
        where: How messages name the model.

    Raises:
        ModelError: The content is damaged, or describes something else.
    """
    document = parse_json_object(content, f"{INDEX_NAME} of {where}")
    pipeline_class = document.get("_class_name")
    if not isinstance(pipeline_class, str):
        raise ModelError(
            f"{INDEX_NAME} of {where} names no pipeline class of diffusers",
            got=_shown(pipeline_class),
            expected="a class name such as 'StableDiffusionPipeline'",
            hint=f"for a pipeline with code of its own write a function and give {SUBJECT}",
        )
    parts = {
        name: _parse_component(name, entry, where)
        for name, entry in document.items()
        if isinstance(entry, list) and not _is_setting(entry)
    }
    loaded = {name: part for name, part in sorted(parts.items()) if part and name not in NOT_LOADED}
    missing = _missing_parts(set(loaded), pipeline_class)
    if missing or not is_measured(pipeline_class):
        raise ModelError(
            f"{where} is no pipeline that draws from a prompt, or from a prompt and a picture",
            got=_shown(pipeline_class) + (f" without {missing}" if missing else ""),
            expected="a pipeline with a vae, a unet or transformer, a text_encoder, a tokenizer",
            hint=f"give {MODEL} such a model",
        )
    return ModelIndex(
        pipeline_class=pipeline_class,
        components=tuple(loaded.values()),
        not_loaded=tuple(name for name in sorted(parts) if name not in loaded),
        left_out=tuple(name for name in NOT_LOADED if parts.get(name)),
    )


def select_files(
    names: Iterable[str], index: ModelIndex, where: str, held: Collection[str] = ()
) -> FileSelection:
    """Choose, from the files of a model, those that are loaded.

    Weights without a variant are preferred; where a part has none, ``fp16`` is taken.

    Args:
        names: All files, relative to the model, with forward slashes.
        index: The model's parts.
        where: How messages name the model.
        held: Parts whose weights come from another file.

    Raises:
        ModelError: A part is missing, or has no complete safetensors weights.
    """
    in_part: dict[str, list[str]] = {part.name: [] for part in index.components}
    for name in names:
        folder, _, rest = name.partition("/")
        if folder in in_part and rest and "/" not in rest:
            in_part[folder].append(rest)
    descriptions = [INDEX_NAME]
    weights: dict[str, dict[str | None, list[str]]] = {}
    for part in index.components:
        files = in_part[part.name]
        if not files:
            raise ModelError(
                f"{where} is incomplete",
                got=f"no folder {part.name}/",
                expected=f"the {part.class_name} that {INDEX_NAME} names",
                hint="download the model again",
            )
        if part.config_name is not None and part.config_name.partition("/")[2] not in files:
            raise ModelError(
                f"{where} is incomplete",
                got=f"no {part.config_name}",
                expected=f"the configuration of {part.class_name}",
                hint="download the model again",
            )
        descriptions += [f"{part.name}/{file}" for file in _descriptions(files)]
        if part.has_weights and part.name not in held:
            weights[part.name] = _complete_weights(part, files)
            if not weights[part.name]:
                raise _no_weights(part, files, where)
    variant = None if all(None in found for found in weights.values()) else _VARIANT
    chosen = [
        f"{name}/{file}"
        for name, found in weights.items()
        for file in found.get(variant, found.get(None, []))
    ]
    return FileSelection(tuple(sorted(descriptions)), tuple(sorted(chosen)), variant)


def _is_setting(entry: Sequence[object]) -> bool:
    """Tell whether a list is a setting, like Krea 2's layers, and not the name of a component."""
    return any(isinstance(item, int | float) for item in entry)


def _parse_component(name: str, entry: Sequence[object], where: str) -> Component | None:
    if len(entry) == 2 and entry[0] is None and entry[1] is None:
        return None
    library, class_name = entry if len(entry) == 2 else (None, None)
    if isinstance(library, str) and isinstance(class_name, str) and name.isidentifier():
        return Component(name, library, class_name)
    raise ModelError(
        f"{INDEX_NAME} of {where} has an entry that cannot be used",
        got=f"{_shown(name)}: {_shown(entry)}",
        expected="a name with [library, class]",
    )


def _missing_parts(names: set[str], pipeline_class: str) -> str:
    missing = []
    if names.isdisjoint(DECODERS) and pipeline_class not in _OF_PIXELS:
        missing.append(DECODERS[0])
    if names.isdisjoint((*DENOISERS, _CASCADE_DENOISER)):
        missing.append(" or ".join(DENOISERS))
    missing += [
        kinds[0]
        for kinds in (("text_encoder",), ("tokenizer", "processor"))
        if not any(name.removeprefix(_OF_PRIOR).startswith(kinds) for name in names)
    ]
    return ", ".join(missing)


def _descriptions(files: Iterable[str]) -> list[str]:
    return [file for file in files if file.endswith(_DESCRIPTION_SUFFIXES)]


def _complete_weights(part: Component, files: Iterable[str]) -> dict[str | None, list[str]]:
    stem = "diffusion_pytorch_model" if part.library == "diffusers" else "model"
    found: dict[str | None, list[str]] = {}
    parts: dict[str | None, tuple[set[str], int]] = {}
    whole: set[str | None] = set()
    for file in files:
        match = _WEIGHTS.fullmatch(file)
        if match is None or match["stem"] != stem:
            continue
        variant = match["before"] or match["after"]
        found.setdefault(variant, []).append(file)
        if match["parts"] is None:
            whole.add(variant)
        else:
            seen, _ = parts.get(variant, (set(), 0))
            parts[variant] = (seen | {match["part"]}, int(match["parts"]))
    whole |= {variant for variant, (seen, count) in parts.items() if len(seen) == count}
    return {variant: found[variant] for variant in whole if variant in (None, _VARIANT)}


def _no_weights(part: Component, files: Iterable[str], where: str) -> ModelError:
    pickles = sorted(file for file in files if file.endswith(_PICKLE_SUFFIXES))
    if pickles:
        return ModelError(
            f"{where} keeps weights as pickles, which run code when they are read",
            got=f"{part.name}/{pickles[0]}",
            expected="safetensors",
            hint="convert a model that you trust: diffusers.DiffusionPipeline"
            ".from_pretrained(SOURCE, use_safetensors=False).save_pretrained(FOLDER), "
            f"then {MODEL} FOLDER",
        )
    return ModelError(
        f"{where} is incomplete",
        got=f"no complete weights in {part.name}/",
        expected="diffusion_pytorch_model.safetensors, model.safetensors, their fp16 variants, "
        "or all of their shards",
        hint="download the model again",
    )


def _shown(value: object) -> str:
    text = ascii(value)
    return shorten(text, 80)
