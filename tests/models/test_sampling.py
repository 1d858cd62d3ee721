import json

import pytest

from sdperf.errors import ConfigurationError, ModelError
from sdperf.models.presets import KINDS, PRESETS, ModelKind, Preset, find_kind
from sdperf.models.sampling import OWN_GUIDANCE, choose_sampling, preset_for, read_defaults
from tests.support.newer_classes import skip_where_diffusers_is_older


def save_model(folder, pipeline_class, *, scheduler=None, transformer=None, **index):
    files = {
        "model_index.json": {"_class_name": pipeline_class, **index},
        "scheduler/scheduler_config.json": scheduler,
        "transformer/config.json": transformer,
    }
    for name, content in files.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(content))
    return str(folder)


TRAILING_EULER = {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "trailing"}
TRAILING_ANCESTRAL = {
    "_class_name": "EulerAncestralDiscreteScheduler",
    "timestep_spacing": "trailing",
}


@pytest.mark.parametrize(
    ("pipeline_class", "files", "steps", "guidance"),
    [
        ("StableDiffusionPipeline", {}, 50, 7.5),
        ("StableDiffusionPipeline", {"scheduler": TRAILING_EULER}, 1, 0.0),
        ("StableDiffusionPipeline", {"scheduler": {"_class_name": "LCMScheduler"}}, 4, 1.0),
        ("StableDiffusionXLPipeline", {}, 50, 5.0),
        ("StableDiffusionXLPipeline", {"scheduler": TRAILING_ANCESTRAL}, 1, 0.0),
        ("StableDiffusion3Pipeline", {"transformer": {"num_layers": 24}}, 28, 7.0),
        ("FluxPipeline", {"transformer": {"guidance_embeds": True}}, 28, 3.5),
        ("FluxPipeline", {"transformer": {"guidance_embeds": False}}, 4, 0.0),
        ("FluxPipeline", {"transformer": {}}, 4, 0.0),
        ("Flux2KleinPipeline", {"is_distilled": True}, 4, 1.0),
        ("Flux2KleinPipeline", {}, 50, 4.0),
        ("ZImagePipeline", {"scheduler": {"shift": 3.0}}, 8, 0.0),
        ("ZImagePipeline", {"scheduler": {"shift": 6.0}}, 50, 5.0),
        ("Krea2Pipeline", {"is_distilled": True}, 8, 0.0),
        ("Krea2Pipeline", {}, 28, 4.5),
        ("QwenImagePipeline", {}, 50, 4.0),
        ("QwenImage21Pipeline", {}, 40, 1.0),
        ("ChromaPipeline", {}, 35, 5.0),
        ("Lumina2Pipeline", {}, 30, 4.0),
        ("SanaPipeline", {}, 20, 4.5),
        ("SanaSprintPipeline", {}, 2, 4.5),
        ("Ideogram4Pipeline", {}, 48, None),
    ],
)
def test_a_folder_is_sampled_as_its_configuration_says(
    tmp_path, pipeline_class, files, steps, guidance
):
    if pipeline_class != "Krea2Pipeline":  # its kinds do not ask diffusers
        skip_where_diffusers_is_older(pipeline_class)
    preset = preset_for(save_model(tmp_path / "any name", pipeline_class, **files))
    assert (preset.num_inference_steps, preset.guidance_scale) == (steps, guidance)
    assert preset.source


@pytest.mark.parametrize(
    ("pipeline_class", "files", "names"),
    [
        ("ZImagePipeline", {"scheduler": {"shift": 4.0}}, ["Z-Image (50", "Turbo (8 steps, 0)"]),
        ("StableDiffusion3Pipeline", {"transformer": {"num_layers": 38}}, ["turbo"]),
        ("StableDiffusionXLPipeline", {"scheduler": TRAILING_EULER}, ["Lightning"]),
        ("MyOwnPipeline", {}, ["no such class in the installed diffusers", "install --upgrade"]),
        ("HeliosPyramidPipeline", {}, ["num_inference_steps=None in its call"]),
    ],
)
def test_who_does_not_say_is_asked(tmp_path, pipeline_class, files, names):
    model = save_model(tmp_path, pipeline_class, **files)
    with pytest.raises(ConfigurationError, match="--sd-steps N --sd-guidance X") as refused:
        preset_for(model)
    assert all(name in str(refused.value) for name in names)


def test_only_what_is_left_open_is_asked_of_the_model(tmp_path):
    unknown = save_model(tmp_path, "MyOwnPipeline")
    said = choose_sampling(unknown, 7, 2.0)
    assert (said.num_inference_steps, said.guidance_scale, said.source) == (7, 2.0, None)
    assert choose_sampling(unknown, 7, OWN_GUIDANCE).guidance_scale is None
    with pytest.raises(ConfigurationError):
        choose_sampling(unknown, 7)
    half = choose_sampling("stabilityai/sd-turbo", 2)
    assert (half.num_inference_steps, half.guidance_scale) == (2, 0.0)
    assert half.source == PRESETS["stabilityai/sd-turbo"].source
    assert choose_sampling("stabilityai/sd-turbo", None, OWN_GUIDANCE).guidance_scale is None


@pytest.mark.parametrize("content", ["{", "[]", '{"_class_name": 3}', "{}", " " * 2**21])
def test_a_damaged_index_is_refused(tmp_path, content):
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(ModelError):
        preset_for(str(tmp_path))


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        preset_for(str(tmp_path / "gone"))


@pytest.mark.parametrize("model", sorted(PRESETS))
def test_every_preset_names_its_source(model):
    preset = PRESETS[model]
    assert preset.source
    assert preset.num_inference_steps >= 1
    assert bool(preset.scheduler) == bool(preset.scheduler_source)


@pytest.mark.parametrize(
    ("model", "pipeline_class"),
    [
        ("stabilityai/stable-diffusion-xl-base-1.0", "StableDiffusionXLPipeline"),
        ("black-forest-labs/FLUX.1-dev", "FluxPipeline"),
        ("Tongyi-MAI/Z-Image", "ZImagePipeline"),
        ("Qwen/Qwen-Image", "QwenImagePipeline"),
        ("Qwen/Qwen-Image-2.1", "QwenImage21Pipeline"),
        ("lodestones/Chroma1-HD", "ChromaPipeline"),
        ("Alpha-VLLM/Lumina-Image-2.0", "Lumina2Pipeline"),
        ("Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers", "SanaPipeline"),
    ],
)
def test_presets_that_quote_diffusers_say_what_it_says(model, pipeline_class):
    skip_where_diffusers_is_older(pipeline_class)
    preset, read = PRESETS[model], read_defaults(pipeline_class)
    assert pipeline_class in preset.source
    assert (preset.num_inference_steps, preset.guidance_scale) == (
        read.num_inference_steps,
        read.guidance_scale,
    )


def test_a_subclass_takes_its_bases_call(tmp_path, monkeypatch):
    sources = tmp_path / "pipelines"
    sources.mkdir()
    (sources / "pipeline_base.py").write_text(
        "class BasePipeline:\n    def __call__(self, prompt, *, num_inference_steps=9, "
        "true_cfg_scale=2.0, guidance_scale=None): ...\n"
    )
    (sources / "pipeline_more.py").write_text("class MorePipeline(Other, BasePipeline): ...\n")
    monkeypatch.setattr(
        "sdperf.models.tasks.signatures._list_sources", lambda: sorted(sources.iterdir())
    )
    preset = read_defaults("MorePipeline")
    assert (preset.num_inference_steps, preset.guidance_scale) == (9, 2.0)


def test_the_first_kind_that_matches_decides():
    assert find_kind("FluxPipeline", {"transformer/config.json": {}}).name == "FLUX.1 schnell"
    assert find_kind("FluxPipeline", {}) is None
    assert find_kind("Other", {kind.file: dict(kind.fields) for kind in KINDS}) is None
    kind = ModelKind("A", "a.json", {"x": (1, None)}, Preset(1, None, "here"), "a")
    assert kind.matches("A", {})
    assert kind.matches("A", {"x": 1})
    assert not kind.matches("A", {"x": 2})
    assert not kind.matches("B", {})
