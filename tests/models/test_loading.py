"""A checked model becomes the plain pipeline, or one clear message."""

import dataclasses
import logging
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from evidence.mapped_pipelines import families
from evidence.random_pipelines import build_sd15
from sdperf.errors import ConfigurationError, ModelError
from sdperf.models.added.lora import LoraFile
from sdperf.models.known_warnings import known_warnings_ignored
from sdperf.models.loader import import_components, load_pipeline, prepare_pipeline, resolve_model
from sdperf.models.subject import PipelineRequest, load_subject, plain_subject
from sdperf.record.workload import LoraUse
from tests.support import tiny_pipelines


@pytest.fixture
def folder(tiny_folder, tmp_path):
    return Path(shutil.copytree(tiny_folder("sd"), tmp_path / "model"))


@pytest.fixture
def request_for_sd(tiny_folder):
    model = tiny_pipelines.resolve(tiny_folder("sd"))
    return PipelineRequest(model, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("name", list(families.FAMILIES))
def test_every_family_loads_quietly_in_the_dtype_and_in_evaluation_mode(tiny_folder, name, capfd):
    pipeline = tiny_pipelines.load(tiny_folder(name), torch.bfloat16)
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert len(parts) >= 3
    assert {part.dtype for part in parts} == {torch.bfloat16}
    assert not any(part.training for part in parts)
    with known_warnings_ignored():
        pipeline("red apple", num_inference_steps=1, height=32, width=32)
    assert capfd.readouterr() == ("", "")


def test_float16_on_a_cpu_is_loaded_without_a_word(folder, capfd):
    assert tiny_pipelines.load(folder, torch.float16).unet.dtype == torch.float16
    assert capfd.readouterr() == ("", "")


def test_loading_leaves_the_libraries_logs_as_they_were(folder):
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    before = [(log.level, log.propagate, list(log.handlers)) for log in loggers]
    tiny_pipelines.load(folder)
    assert [(log.level, log.propagate, list(log.handlers)) for log in loggers] == before


def test_saved_and_loaded_weights_are_the_built_ones(folder):
    built = families.build_sd().unet.state_dict()
    loaded = tiny_pipelines.load(folder).unet.state_dict()
    assert all(torch.equal(built[name], loaded[name]) for name in built)


def test_a_variant_is_loaded_where_it_is_all_there_is(folder):
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    model = resolve_model(str(folder))
    assert model.variant == "fp16"
    pipeline = load_pipeline(model, torch_dtype=torch.float32, device="cpu")
    assert pipeline.unet.dtype == torch.float32


def test_the_safety_checker_is_neither_needed_nor_loaded(folder):
    index = folder / "model_index.json"
    text = index.read_text(encoding="utf-8").replace(
        '"safety_checker": [\n    null,\n    null\n  ]',
        '"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]',
    )
    index.write_text(text.replace('_checker": false', '_checker": true'), encoding="utf-8")
    model = resolve_model(str(folder))
    assert "safety_checker" in model.not_loaded
    assert load_pipeline(model, torch_dtype=torch.float32, device="cpu").safety_checker is None


@pytest.mark.parametrize(
    "weights",
    ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"],
)
def test_weights_that_the_files_lack_are_never_made_up(folder, weights):
    path = folder / f"{weights}.safetensors"
    values = load_file(path)
    del values[next(name for name in sorted(values) if values[name].ndim > 1)]
    save_file(values, path, metadata={"format": "pt"})
    model = resolve_model(str(folder))
    with pytest.raises(ModelError, match="lacks weights that its configuration asks for"):
        load_pipeline(model, torch_dtype=torch.float32, device="cpu")


@pytest.mark.parametrize("weights", ["unet/diffusion_pytorch_model", "text_encoder/model"])
def test_weights_of_another_shape(folder, weights):
    path = folder / f"{weights}.safetensors"
    values = load_file(path)
    name = next(name for name in sorted(values) if values[name].ndim > 1)
    values[name] = values[name][:1].clone()
    save_file(values, path, metadata={"format": "pt"})
    model = resolve_model(str(folder))
    with pytest.raises(ModelError, match="cannot be loaded as StableDiffusionPipeline"):
        load_pipeline(model, torch_dtype=torch.float32, device="cpu")


def test_a_pipeline_class_that_diffusers_does_not_have(folder):
    index = folder / "model_index.json"
    text = index.read_text(encoding="utf-8").replace("StableDiffusionPipeline", "FuturePipeline")
    index.write_text(text, encoding="utf-8")
    model = resolve_model(str(folder))
    with pytest.raises(ModelError, match=r"loaded as FuturePipeline.*update diffusers"):
        load_pipeline(model, torch_dtype=torch.float32, device="cpu")


def test_a_network_of_ones_own_is_no_damage_and_led_to_a_subject(folder):
    index = folder / "model_index.json"
    text = index.read_text(encoding="utf-8").replace("UNet2DConditionModel", "MyUNet")
    index.write_text(text, encoding="utf-8")
    model = resolve_model(str(folder))
    with pytest.raises(ModelError, match="a class for its unet that diffusers does not") as refused:
        load_pipeline(model, torch_dtype=torch.float32, device="cpu")
    assert refused.value.got == "MyUNet"
    assert "--sd-subject" in refused.value.hint
    assert "download" not in refused.value.hint


def test_a_prepared_pipeline_has_no_watermark_and_no_safety_checker():
    pipeline = families.build_sdxl()
    pipeline.watermark = object()
    assert prepare_pipeline(pipeline).watermark is None
    checked = families.build_sd()
    checked.safety_checker = torch.nn.Identity()
    checked.unet.train()
    assert prepare_pipeline(checked).safety_checker is None
    assert not checked.unet.training


# Subjects


def test_a_request_survives_the_way_to_a_worker(request_for_sd):
    assert pickle.loads(pickle.dumps(request_for_sd)) == request_for_sd


def test_the_plain_subject_is_the_models_own_pipeline(request_for_sd):
    assert type(plain_subject(request_for_sd)) is StableDiffusionPipeline


def make_plain(request):
    return request.load()


def make_nothing(request):
    return None


def make_failure(request):
    raise ZeroDivisionError("in the user's code")


NOT_CALLABLE = SimpleNamespace()


def test_a_subject_makes_the_pipeline(request_for_sd):
    pipeline = load_subject(f"{__name__}:make_plain")(request_for_sd)
    assert type(pipeline) is StableDiffusionPipeline


def test_a_subject_in_the_current_folder_is_found(request_for_sd, tmp_path, monkeypatch):
    (tmp_path / "my_subject.py").write_text("def make(request):\n    return request.load()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "elsewhere"))
    assert type(load_subject("my_subject:make")(request_for_sd)) is StableDiffusionPipeline


def test_a_subject_that_returns_no_pipeline(request_for_sd):
    with pytest.raises(ModelError, match=r"make_nothing returned no pipeline.*NoneType"):
        load_subject(f"{__name__}:make_nothing")(request_for_sd)


def make_own(request):
    return tiny_pipelines.load(request.model.folder)


def test_a_subject_that_leaves_the_lora_out_is_refused(request_for_sd):
    lora = LoraFile(
        Path("style.safetensors"), LoraUse("style.safetensors", "a" * 64, 1.0, is_fused=False)
    )
    model = dataclasses.replace(request_for_sd.model, lora="style.safetensors", loras=(lora,))
    subject = load_subject(f"{__name__}:make_own")
    assert type(subject(request_for_sd)) is StableDiffusionPipeline
    with pytest.raises(ModelError, match=r"make_own leaves --sd-lora out.*request\.load\(\)"):
        subject(dataclasses.replace(request_for_sd, model=model))


def test_what_a_subject_raises_passes_through(request_for_sd):
    with pytest.raises(ZeroDivisionError, match="in the user's code"):
        load_subject(f"{__name__}:make_failure")(request_for_sd)


@pytest.mark.parametrize("name", ["", "module", "module:", ":function", "a b:c", "a..b:c", "a:b:c"])
def test_a_subject_of_another_form(name):
    with pytest.raises(ConfigurationError, match="module:function"):
        load_subject(name)


def test_a_subject_that_cannot_be_imported(tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match=r"cannot be imported.*ModuleNotFoundError"):
        load_subject("no_such_module:make")
    (tmp_path / "broken_subject.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"cannot be imported.*ZeroDivisionError"):
        load_subject("broken_subject:make")


@pytest.mark.parametrize("name", ["absent", "NOT_CALLABLE"])
def test_a_subject_that_is_no_function(name):
    with pytest.raises(ConfigurationError, match=f"has no function {name}"):
        load_subject(f"{__name__}:{name}")


def test_the_published_shape_has_the_published_number_of_weights():
    pipeline = build_sd15(dtype=torch.bfloat16, device="meta")
    counts = {
        name: sum(weight.numel() for weight in part.parameters())
        for name, part in pipeline.components.items()
        if isinstance(part, torch.nn.Module)
    }
    assert counts == {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}


def test_importing_a_models_classes_leaves_unknown_ones_to_the_loader(folder):
    resolved = tiny_pipelines.resolve(folder)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("UNet2DConditionModel", "UNet9DConditionModel"))
    import_components(resolved)
    with pytest.raises(ModelError):
        load_pipeline(resolved, torch_dtype=torch.float32, device="cpu")


def test_a_subject_whose_module_ends_the_process(tmp_path, monkeypatch):
    (tmp_path / "ending_subject.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"cannot be imported.*SystemExit"):
        load_subject("ending_subject:make")
