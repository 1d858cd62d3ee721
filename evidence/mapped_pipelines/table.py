"""Every class that diffusers maps to text-to-image: how it was tried, or why it was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from typing import Any, Final

from diffusers import PixArtAlphaPipeline, PixArtSigmaPipeline

from evidence.mapped_pipelines import (
    combined,
    early,
    families,
    newest,
    pictures,
    processors,
    recent,
)
from evidence.mapped_pipelines.newest import with_perturbed_attention
from sdperf.models.tasks.signatures import read_mapping

NOT_TOLD: Final = "wants the kind of control (control_mode), which no setting says"
_AS_PLAIN: Final = "as the same without perturbed attention; not tried"
_AS_CONTROLNET: Final = "as its ControlNet for text-to-image; not tried"
_TORCHVISION: Final = ("torchvision",)
_A_MILLION: Final = "draws a million pixels whatever size is asked for"
_COMBINED: Final = "made of two pipelines; its parts have to be found by hand"
_ITS_GUIDANCE: Final = {"height": 128, "width": 128, "guidance_scale": None}
"""Of a pipeline that has a scale for each of its halves."""

_VIDEO: Final = "makes a video; its first frame would be the picture"


@dataclass(frozen=True)
class Try:
    """A tiny pipeline and what it is asked for.

    Attributes:
        build: Makes the pipeline.
        settings: Fields of the workload that differ from two steps at 32 x 32 pixels.
        opens: Whether the pipeline is saved, and opened as the class that the row is about.
        is_given_a_picture: Whether it is given the default picture although it can do without.
        needs: Packages beside sdperf's own that the class cannot be tried without.
        is_saved: Whether it is saved and loaded as sdperf does; not where diffusers cannot open
            what it saves, so that a function has to make the pipeline.
    """

    build: Callable[[], Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    opens: bool = False
    is_given_a_picture: bool = False
    needs: tuple[str, ...] = ()
    is_saved: bool = True

    @property
    def is_possible(self) -> bool:
        """Whether everything that the class needs can be imported here."""
        return all(map(_can_import, self.needs))


@cache
def _can_import(package: str) -> bool:
    """Tell whether a package loads: an installed torchvision may not fit the torch beside it."""
    try:
        import_module(package)
    except Exception:  # noqa: BLE001  # RuntimeError where an operator is missing
        return False
    return True


def _sized(build: Callable[[], Any], size_px: int) -> Try:
    return Try(build, {"height": size_px, "width": size_px})


def _perturbed(build: Callable[[], Any], name: str, layers: str) -> Callable[[], Any]:
    return partial(with_perturbed_attention, build, name, layers)


CLASSES: Final[dict[str, Try | str]] = {
    "StableDiffusionPipeline": Try(families.build_sd),
    "StableDiffusionXLPipeline": Try(families.build_sdxl),
    "StableDiffusion3Pipeline": Try(families.build_sd3),
    "FluxPipeline": Try(families.build_flux),
    "ZImagePipeline": Try(recent.build_z_image),
    "Flux2KleinPipeline": Try(recent.build_flux2_klein, {"guidance_scale": 1.0}),
    "QwenImagePipeline": Try(recent.build_qwen_image),
    "ChromaPipeline": Try(recent.build_chroma),
    "Lumina2Pipeline": Try(recent.build_lumina2),
    "Flux2Pipeline": Try(newest.build_flux2),
    "Krea2Pipeline": Try(newest.build_krea2),
    "Ideogram4Pipeline": Try(newest.build_ideogram4),
    "CogView4Pipeline": Try(newest.build_cogview4),
    "OvisImagePipeline": Try(newest.build_ovis),
    "PRXPipeline": Try(processors.build_prx, {"height": 256, "width": 256}, needs=("ftfy",)),
    "SanaPipeline": _sized(early.build_sana, 512),
    "PixArtAlphaPipeline": _sized(partial(early.build_pixart, PixArtAlphaPipeline), 256),
    "PixArtSigmaPipeline": _sized(partial(early.build_pixart, PixArtSigmaPipeline), 256),
    "HunyuanDiTPipeline": _sized(early.build_hunyuan, 1024),
    "AuraFlowPipeline": Try(early.build_aura_flow),
    "LuminaPipeline": Try(early.build_lumina),
    "CogView3PlusPipeline": Try(early.build_cogview3),
    "LatentConsistencyModelPipeline": Try(early.build_lcm),
    "IFPipeline": Try(early.build_if),
    "Kandinsky3Pipeline": Try(early.build_kandinsky3),
    "StableDiffusionPAGPipeline": Try(
        _perturbed(families.build_sd, "StableDiffusionPAGPipeline", "mid")
    ),
    "StableDiffusionXLPAGPipeline": Try(
        _perturbed(families.build_sdxl, "StableDiffusionXLPAGPipeline", "mid")
    ),
    "StableDiffusion3PAGPipeline": Try(
        _perturbed(partial(families.build_sd3, layers=2), "StableDiffusion3PAGPipeline", "blocks.1")
    ),
    "PixArtSigmaPAGPipeline": _sized(
        _perturbed(
            partial(early.build_pixart, PixArtSigmaPipeline), "PixArtSigmaPAGPipeline", "blocks.1"
        ),
        256,
    ),
    "SanaPAGPipeline": _sized(
        _perturbed(early.build_sana, "SanaPAGPipeline", "transformer_blocks.0"), 512
    ),
    "HunyuanDiTPAGPipeline": _sized(
        _perturbed(early.build_hunyuan, "HunyuanDiTPAGPipeline", "blocks.1"), 1024
    ),
    "FluxKontextPipeline": _A_MILLION,
    "QwenImage21Pipeline": Try(processors.build_qwen_image21, needs=_TORCHVISION),
    "NucleusMoEImagePipeline": Try(processors.build_nucleus, needs=_TORCHVISION),
    "GlmImagePipeline": Try(processors.build_glm_image, needs=_TORCHVISION),
    "ZImageOmniPipeline": Try(processors.build_z_image_omni, needs=_TORCHVISION),
    "KandinskyCombinedPipeline": Try(combined.build_kandinsky),
    "KandinskyV22CombinedPipeline": Try(combined.build_kandinsky22),
    "WuerstchenCombinedPipeline": Try(combined.build_wuerstchen, _ITS_GUIDANCE, is_saved=False),
    "StableCascadeCombinedPipeline": Try(
        combined.build_stable_cascade, _ITS_GUIDANCE, is_saved=False
    ),
    "HeliosPipeline": _VIDEO,
    "HeliosPyramidPipeline": _VIDEO,
    "StableDiffusionControlNetPipeline": Try(pictures.build_sd_controlnet),
    "StableDiffusionXLControlNetPipeline": Try(pictures.build_sdxl_controlnet),
    "StableDiffusionXLControlNetUnionPipeline": NOT_TOLD,
    "StableDiffusion3ControlNetPipeline": Try(pictures.build_sd3_controlnet),
    "StableDiffusionControlNetPAGPipeline": Try(
        partial(
            pictures.build_sd_controlnet,
            "StableDiffusionControlNetPAGPipeline",
            pag_applied_layers="mid",
        )
    ),
    "StableDiffusionXLControlNetPAGPipeline": Try(
        partial(
            pictures.build_sdxl_controlnet,
            "StableDiffusionXLControlNetPAGPipeline",
            pag_applied_layers="mid",
        )
    ),
    "FluxControlPipeline": Try(pictures.build_flux_control),
    "FluxControlNetPipeline": Try(pictures.build_flux_controlnet),
    "CogView4ControlPipeline": Try(pictures.build_cogview4_control),
    "QwenImageControlNetPipeline": Try(pictures.build_qwen_image_controlnet),
    "ZImageControlNetPipeline": Try(pictures.build_z_image_controlnet),
    "ZImageControlNetInpaintPipeline": Try(
        partial(pictures.build_z_image_controlnet, "ZImageControlNetInpaintPipeline")
    ),
}
"""By class name; a reason where it was not tried."""


def _opened(build: Callable[[], Any], **settings: Any) -> Try:
    """Open the folder of a text-to-image pipeline as the class of the row.

    Of 4 steps the smallest default strength of a call leaves one.
    """
    return Try(build, {"num_inference_steps": 4, **settings}, opens=True)


def _edits(build: Callable[[], Any], **settings: Any) -> Try:
    return Try(build, {"num_inference_steps": 4, **settings}, is_given_a_picture=True)


PICTURE_CLASSES: Final[dict[str, Try | str]] = {
    "StableDiffusionImg2ImgPipeline": _opened(families.build_sd),
    "StableDiffusionInpaintPipeline": _opened(families.build_sd),
    "StableDiffusionXLImg2ImgPipeline": _opened(families.build_sdxl),
    "StableDiffusionXLInpaintPipeline": _opened(families.build_sdxl),
    "StableDiffusion3Img2ImgPipeline": _opened(families.build_sd3),
    "StableDiffusion3InpaintPipeline": _opened(partial(families.build_sd3, channels=16)),
    "LatentConsistencyModelImg2ImgPipeline": _opened(early.build_lcm),
    "FluxImg2ImgPipeline": _opened(families.build_flux),
    "FluxInpaintPipeline": _opened(families.build_flux),
    "FluxFillPipeline": Try(pictures.build_flux_fill),
    "FluxKontextPipeline": _edits(newest.build_flux_kontext),
    "Flux2Pipeline": _edits(newest.build_flux2, height=64, width=64),
    "Flux2KleinPipeline": _edits(recent.build_flux2_klein, height=64, width=64, guidance_scale=1.0),
    "QwenImageImg2ImgPipeline": _opened(recent.build_qwen_image),
    "QwenImageInpaintPipeline": _opened(recent.build_qwen_image),
    "ZImageImg2ImgPipeline": _opened(recent.build_z_image),
    "ZImageInpaintPipeline": _opened(recent.build_z_image),
    **{
        name: Try(
            partial(processors.build_qwen_image_edit, name),
            {"num_inference_steps": 4, "height": 64, "width": 64},
            needs=_TORCHVISION,
        )
        for name in ("QwenImageEditPipeline", "QwenImageEditPlusPipeline")
    },
    "QwenImageEditInpaintPipeline": _A_MILLION,
    "QwenImageLayeredPipeline": "makes several layers of one picture",
    "Kandinsky3Img2ImgPipeline": "not tried",
    **dict.fromkeys(("IFImg2ImgPipeline", "IFInpaintingPipeline"), "not tried"),
    **dict.fromkeys(
        (
            "KandinskyImg2ImgCombinedPipeline",
            "KandinskyV22Img2ImgCombinedPipeline",
            "KandinskyInpaintCombinedPipeline",
            "KandinskyV22InpaintCombinedPipeline",
        ),
        _COMBINED,
    ),
    **dict.fromkeys(
        (
            "StableDiffusionPAGImg2ImgPipeline",
            "StableDiffusionXLPAGImg2ImgPipeline",
            "StableDiffusion3PAGImg2ImgPipeline",
            "StableDiffusionPAGInpaintPipeline",
            "StableDiffusionXLPAGInpaintPipeline",
            "StableDiffusionXLControlNetPAGImg2ImgPipeline",
            "StableDiffusionControlNetPAGInpaintPipeline",
        ),
        _AS_PLAIN,
    ),
    **{
        name: Try(partial(build, name), {"num_inference_steps": 4})
        for name, build in {
            "StableDiffusionControlNetImg2ImgPipeline": pictures.build_sd_controlnet,
            "StableDiffusionControlNetInpaintPipeline": pictures.build_sd_controlnet,
            "StableDiffusionXLControlNetImg2ImgPipeline": pictures.build_sdxl_controlnet,
            "StableDiffusionXLControlNetInpaintPipeline": pictures.build_sdxl_controlnet,
            "FluxControlNetImg2ImgPipeline": pictures.build_flux_controlnet,
            "FluxControlNetInpaintPipeline": pictures.build_flux_controlnet,
            "FluxControlImg2ImgPipeline": pictures.build_flux_control,
        }.items()
    },
    **dict.fromkeys(
        ("StableDiffusion3ControlNetInpaintingPipeline", "FluxControlInpaintPipeline"),
        _AS_CONTROLNET,
    ),
    **dict.fromkeys(
        (
            "StableDiffusionXLControlNetUnionImg2ImgPipeline",
            "StableDiffusionXLControlNetUnionInpaintPipeline",
        ),
        NOT_TOLD,
    ),
}
"""Classes that draw from a picture beside the prompt, by name; a reason where one was not tried."""


UNTRIED: Final = "Kolors"
"""diffusers maps these classes only where sentencepiece is installed; nobody tried them here."""


def list_mapped() -> list[str]:
    """List the classes that the installed diffusers maps to text-to-image, in its order."""
    from diffusers.pipelines.auto_pipeline import AUTO_TEXT2IMAGE_PIPELINES_MAPPING

    named = [kind.__name__ for kind in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()]
    return [name for name in named if not name.startswith(UNTRIED)]


def list_mapped_pictures() -> list[str]:
    """List the classes that the installed diffusers maps to image-to-image and inpainting."""
    mapped = (*read_mapping("IMAGE2IMAGE").values(), *read_mapping("INPAINT").values())
    named = dict.fromkeys((*mapped, "FluxFillPipeline"))
    return [name for name in named if not name.startswith(UNTRIED)]
