"""A file of weights in the place of a folder's: a denoiser, a whole checkpoint, a GGUF."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sdperf.errors import ConfigurationError, ModelError
from sdperf.models.added import single_file
from sdperf.models.added.single_file import load_denoiser
from sdperf.models.layout import Component, ModelIndex
from sdperf.models.sampling import preset_for
from sdperf.run.messages import WorkerSpec
from sdperf.run.worker.hosting import check_hostable
from tests.support.old_layouts import rename_to_original
from tests.support.tiny_pipelines import load, resolve

MODELS = ("z-image", "flux2-klein", "qwen-image")


def find_weights(folder):
    return folder / "transformer" / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def beside(tiny_folder, tmp_path):
    """Lay a model's folder, without its denoiser's weights, beside a file; return the file."""

    def lay(name, suffix=".safetensors"):
        folder = tmp_path / "tuned"
        shutil.copytree(tiny_folder(name), folder)
        weights = find_weights(folder)
        if weights.is_file():
            weights.rename(tmp_path / f"tuned{suffix}")
        return tmp_path / f"tuned{suffix}"

    return lay


def rewrite(state, path):
    """Write other weights to a file that the given ones may be mapped from."""
    copied = {key: values.clone() for key, values in state.items()}
    path.unlink()
    save_file(copied, path)


def refused(path, match):
    with pytest.raises(ModelError, match=match) as caught:
        load(path)
    return caught.value


@pytest.mark.parametrize("name", MODELS)
def test_a_denoiser_of_a_file_takes_the_place_of_the_folders(beside, tiny_folder, name):
    path = beside(name)
    state = {key: values * 2 for key, values in load_file(path).items()}
    rewrite(state, path)
    pipeline, plain = load(path), load(tiny_folder(name))
    assert type(pipeline) is type(plain)
    loaded = pipeline.transformer.state_dict()
    assert all(torch.equal(loaded[key], values) for key, values in state.items())
    others = pipeline.vae.state_dict()
    assert all(torch.equal(others[key], one) for key, one in plain.vae.state_dict().items())


def test_half_precision_reaches_the_file_too(beside):
    assert load(beside("z-image"), torch.bfloat16).transformer.dtype == torch.bfloat16


def test_the_folder_that_a_file_lies_in_will_do(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("z-image"), folder)
    other = shutil.copy(find_weights(folder), folder / "other.safetensors")
    assert resolve(other).folder == folder
    assert load(other).transformer is not None


def test_its_identity_is_made_of_what_the_file_and_the_folder_hold(beside, tiny_folder):
    path = beside("z-image")
    found = resolve(path)
    assert found.weights == resolve(tiny_folder("z-image")).weights
    assert found.files[-1] == str(path)
    assert not found.is_as_stored
    renamed = path.rename(path.with_name("other.safetensors"))
    path.with_suffix("").rename(renamed.with_suffix(""))
    assert resolve(renamed).model_hash == found.model_hash
    state = load_file(renamed)
    rewrite({key: values + 1 for key, values in state.items()}, renamed)
    changed = resolve(renamed).model_hash
    assert changed != found.model_hash
    (renamed.with_suffix("") / "scheduler/scheduler_config.json").write_text(
        '{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0}'
    )
    assert resolve(renamed).model_hash != changed


def test_it_is_sampled_as_its_folder_says(beside):
    path = beside("z-image")
    assert preset_for(str(path)) == preset_for(str(path.with_suffix("")))


def test_a_file_without_a_folder_is_told_what_it_lacks(tmp_path):
    path = tmp_path / "style.v2.safetensors"
    save_file({"weight": torch.ones(1)}, path)
    error = refused(path, "a file of weights, which lacks the configuration")
    assert error.hint == f"ln -s FOLDER {tmp_path / 'style.v2'}"


def test_a_damaged_file_is_named(beside):
    path = beside("z-image")
    path.write_bytes(path.read_bytes()[:-10])
    refused(path, "tuned.safetensors.*is truncated")


def test_a_file_that_lacks_weights_or_is_of_another_model_is_refused(beside, tiny_folder):
    path = beside("z-image")
    state = load_file(path)
    rewrite({key: values for key, values in state.items() if "layers.0" not in key}, path)
    error = refused(path, r"lacks \d+ of \d+ weights of the denoiser")
    assert "layers.0" in error.got
    rewrite(load_file(find_weights(tiny_folder("qwen-image"))), path)
    refused(path, "cannot be loaded|lacks|holds none of the")
    rewrite({"linear.weight": torch.ones(2, 2)}, path)
    assert "linear.weight" in refused(path, "holds none of the").got


def test_a_denoiser_that_diffusers_reads_from_no_file_is_said(beside):
    path = beside("z-image")
    file = resolve(path).single_file
    parts = (Component("transformer", "diffusers", "PixArtTransformer2DModel"),)
    with pytest.raises(ModelError, match="reads no single file of a PixArtTransformer2DModel"):
        load_denoiser(file, path.parent, ModelIndex("P", parts, ()), dtype=torch.float32)


def test_other_engines_convert_folders_only(beside):
    spec = WorkerSpec(resolve(beside("z-image")), "fp32", "cpu", engine="mlx")
    with pytest.raises(ConfigurationError, match="converts models that are folders"):
        check_hostable(spec)


@pytest.fixture
def checkpoint(tiny_folder, tmp_path):
    """A tiny Stable Diffusion in the layout of 2022, beside its configurations alone."""
    folder = tmp_path / "old"
    shutil.copytree(tiny_folder("sd"), folder)
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    path = tmp_path / "old.safetensors"
    save_file(rename_to_original(load(tiny_folder("sd"))), path)
    return path


def test_a_checkpoint_needs_no_weights_of_its_folder(checkpoint, tiny_folder):
    assert resolve(checkpoint).single_file.holds == "checkpoint"
    pipeline, plain = load(checkpoint), load(tiny_folder("sd"))
    for part in ("unet", "vae", "text_encoder"):
        loaded, expected = (getattr(one, part).state_dict() for one in (pipeline, plain))
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[key], values) for key, values in expected.items())
    drawn = [
        each(
            "red apple", num_inference_steps=2, height=32, width=32, output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images
        for each in (pipeline, plain)
    ]  # fmt: skip
    assert np.array_equal(*drawn)


def test_a_checkpoint_of_some_networks_is_refused(checkpoint):
    state = load_file(checkpoint)
    rewrite({key: one for key, one in state.items() if "cond_stage" not in key}, checkpoint)
    error = refused(checkpoint, "holds some of a pipeline's networks")
    assert error.got == "a denoiser and a VAE, no text encoder"


def quantise(state, path):
    """Write a GGUF of 8 bits, as tools for it do: layers in blocks of 32, all else in floats."""
    gguf = pytest.importorskip("gguf")
    from gguf.quants import quantize

    writer = gguf.GGUFWriter(str(path), "tiny")
    for name, tensor in state.items():
        values = tensor.float().numpy()
        is_layer = values.ndim == 2 and name.endswith(".weight") and values.shape[-1] % 32 == 0
        if is_layer and "embedder" not in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("name", ["z-image", "qwen-image"])
def test_a_quantised_denoiser_draws_nearly_what_the_plain_one_does(beside, tiny_folder, name):
    path = beside(name, ".gguf")
    state = {key: values.clone() for key, values in load_file(path).items()}
    path.unlink()
    quantise(state, path)
    assert resolve(path).weights is None
    pipeline, plain = load(path), load(tiny_folder(name))
    kinds = {type(one).__name__ for one in pipeline.transformer.modules()}
    assert "GGUFLinear" in kinds
    drawn = [
        each(
            "red apple", num_inference_steps=2, height=32, width=32, output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images
        for each in (pipeline, plain)
    ]  # fmt: skip
    apart = np.abs(drawn[0] - drawn[1]).max()
    assert 0 < apart < 0.05


def test_without_its_package_a_gguf_is_one_message(beside, monkeypatch):
    path = beside("z-image", ".gguf")
    error = refused(path, "is no GGUF file")
    assert "GGUF" in error.expected
    path.write_bytes(b"GGUF" + bytes(100))
    monkeypatch.setattr(single_file.importlib.util, "find_spec", lambda _: None)
    error = refused(path, "the package that reads them is not installed")
    assert error.hint == "pip install 'sdperf[gguf]'"


def test_a_damaged_gguf_is_one_message(beside):
    pytest.importorskip("gguf")
    path = beside("z-image", ".gguf")
    path.write_bytes(b"GGUF" + bytes(100))
    refused(path, "is truncated or damaged")


def test_a_gguf_that_was_cut_is_told(beside):
    path = beside("z-image", ".gguf")
    state = {key: values.clone() for key, values in load_file(path).items()}
    path.unlink()
    quantise(state, path)
    resolve(path)
    path.write_bytes(path.read_bytes()[:-200])
    refused(path, "is truncated or damaged; got: ")


def test_a_denoiser_that_lacks_one_weight_names_it(beside):
    path = beside("z-image")
    state = load_file(path)
    name = sorted(state)[3]
    del state[name]
    rewrite(state, path)
    error = refused(path, rf"lacks 1 of {len(state) + 1} weights of the denoiser")
    assert error.got == f"no {name}"


@pytest.mark.parametrize(
    ("name", "suffix"),
    [*((name, ".safetensors") for name in MODELS), ("qwen-image", ".gguf")],
)
def test_a_file_with_weights_that_its_configuration_has_no_place_for_is_refused(
    beside, name, suffix
):
    """As of a deeper model beside the folder of a shallower one; diffusers only warns."""
    path = beside(name, suffix)
    state = {key: values.clone() for key, values in load_file(path).items()}
    block = next(key for key in sorted(state) if ".0." in key and key.endswith(".weight"))
    deeper = block.replace(".0.", ".97.", 1)
    state[deeper] = state[block].clone()
    path.unlink()
    (save_file if suffix == ".safetensors" else quantise)(state, path)
    error = refused(path, rf"has 1 of {len(state)} weights that the denoiser of the folder beside")
    assert error.got == deeper


def test_a_unet_that_lacks_one_weight_names_it(tiny_folder, tmp_path):
    folder = tmp_path / "tuned"
    shutil.copytree(tiny_folder("sd"), folder)
    path = tmp_path / "tuned.safetensors"
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(path)
    assert load(path).unet is not None
    state = load_file(path)
    del state["conv_out.bias"]
    rewrite(state, path)
    assert refused(path, r"lacks 1 of \d+ weights of the denoiser").got == "no conv_out.bias"


@pytest.mark.parametrize(
    ("folder", "about"),
    [("vae/diffusion_pytorch_model", "a VAE"), ("text_encoder/model", "a text encoder")],
)
def test_a_file_of_another_network_is_named(beside, tiny_folder, folder, about):
    path = beside("z-image")
    shutil.copy(tiny_folder("sd") / f"{folder}.safetensors", path)
    refused(path, f"holds {about} only")
