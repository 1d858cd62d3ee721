"""A LoRA beside a model: found, checked, loaded at its scale, fused, and named in the record."""

import dataclasses
import importlib.util
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from evidence.mapped_pipelines.recent import RECENT
from sdperf.errors import ConfigurationError, ModelError
from sdperf.judging.doubts.comparable import explain_difference
from sdperf.models.added import lora
from sdperf.models.loader import load_pipeline, resolve_model
from sdperf.pipeline.optimisations.networks import optimise_networks
from sdperf.record.workload import LoraUse
from sdperf.settings import LORA
from tests.support.measurements import measurement

NEEDS_PEFT = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="needs peft (sdperf[lora])"
)
LAYER = "transformer.transformer_blocks.0.attn.to_q"


@pytest.fixture
def style(tmp_path):
    """A LoRA of one layer of the tiny Qwen-Image."""
    layer = RECENT["qwen-image"]().transformer.transformer_blocks[0].attn.to_q
    draw = torch.Generator().manual_seed(1)
    path = tmp_path / "style.safetensors"
    save_file(
        {
            f"{LAYER}.lora_A.weight": torch.randn(2, layer.in_features, generator=draw),
            f"{LAYER}.lora_B.weight": torch.randn(layer.out_features, 2, generator=draw),
        },
        path,
    )
    return path


@pytest.fixture
def installed(monkeypatch):
    """What is checked before any weight is loaded needs no peft here."""
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda _: object())


def resolve(folder, text):
    return resolve_model(str(folder), lora=text, cache_dir=None)


def draw(pipeline):
    return pipeline(
        "red apple", num_inference_steps=2, height=32, width=32, output_type="pt",
        generator=torch.Generator().manual_seed(0), negative_prompt="",
    ).images  # fmt: skip


@pytest.mark.parametrize(
    "text", ["style.ckpt", "style.safetensors:", "style.safetensors:much", ":0.8",
             "style.safetensors:1.2.3", "a.safetensors,,b.safetensors",
             "style.safetensors:0", "style.safetensors:-0.0:fused"],
)  # fmt: skip
def test_what_is_no_lora_is_refused_where_it_is_typed(text):
    with pytest.raises(ValueError, match=r"^FILE.safetensors\[:SCALE\]\[:fused\]"):
        LORA.parse(text)


def test_file_scale_and_fusing_make_another_model(tiny_folder, style, installed):
    folder = tiny_folder("qwen-image")
    plain = resolve_model(str(folder), cache_dir=None)
    texts = (f"{style}", f"{style}:0.8", f"{style}:0.8:fused", f"{style},{style}")
    found = [resolve(folder, text) for text in texts]
    assert len({plain.model_hash, *(each.model_hash for each in found)}) == 5
    (use,) = (each.use for each in found[2].loras)
    assert use.describe() == f"style.safetensors ({use.sha256[:8]}) at 0.8, fused"
    moved = style.rename(style.with_name("other.safetensors"))
    assert resolve(folder, f"{moved}:0.8").model_hash == found[1].model_hash
    assert not found[0].is_as_stored


def test_a_lora_that_is_absent_or_damaged_is_named(tiny_folder, style, installed):
    folder = tiny_folder("qwen-image")
    with pytest.raises(ConfigurationError, match=r"--sd-lora names no file.*none.safetensors"):
        resolve(folder, "none.safetensors")
    style.write_bytes(style.read_bytes()[:-4])
    with pytest.raises(ModelError, match=r"the LoRA style\.safetensors is truncated"):
        resolve(folder, str(style))


def test_without_its_package_it_is_one_message(tiny_folder, style, monkeypatch):
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError) as caught:
        resolve(tiny_folder("qwen-image"), str(style))
    assert caught.value.hint == "pip install 'sdperf[lora]'"


@NEEDS_PEFT
def test_it_is_loaded_at_its_scale_and_fused_if_asked(tiny_folder, style):
    folder = tiny_folder("qwen-image")

    def load(text):
        return load_pipeline(resolve(folder, text), torch_dtype=torch.float32, device="cpu")

    plain, none, kept, fused = map(
        load, ("", f"{style}:0.0000001", f"{style}:0.8", f"{style}:0.8:fused")
    )
    layers = [[name for name, _ in one.transformer.named_modules() if "lora" in name]
              for one in (plain, kept, fused)]  # fmt: skip
    assert [bool(each) for each in layers] == [False, True, False]
    before, zero, loaded, merged = map(draw, (plain, none, kept, fused))
    assert torch.allclose(before, zero, atol=1e-6)
    assert (loaded - before).abs().max() > 1e-4
    assert torch.allclose(loaded, merged, atol=1e-4)
    state = style.with_name("plain").with_suffix(".safetensors")
    save_file({"transformer.nothing.lora_A.weight": torch.ones(2, 2),
               "transformer.nothing.lora_B.weight": torch.ones(2, 2)}, state)  # fmt: skip
    with pytest.raises(ModelError, match=r"the LoRA plain\.safetensors c"):
        load(str(state))


@pytest.fixture
def load(tiny_folder):
    folder = tiny_folder("qwen-image")
    return lambda text: load_pipeline(
        resolve(folder, text), torch_dtype=torch.float32, device="cpu"
    )


@pytest.fixture
def save(style):
    """Save the LoRA under another name, with changes."""

    def write(name, metadata=None, **changed):
        path = style.with_name(f"{name}.safetensors")
        with safe_open(style, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        change = changed.get("change", lambda _: None)
        change(tensors)
        save_file(tensors, path, metadata=metadata)
        return path

    return write


@NEEDS_PEFT
def test_one_that_is_fused_hides_no_other(load, style, save):
    def double(tensors):
        tensors[f"{LAYER}.lora_B.weight"] *= -2

    other = save("other", change=double)
    alone, together, mixed, turned = (
        draw(load(text))
        for text in (f"{style}", f"{style},{other}", f"{style}:fused,{other}",
                     f"{other},{style}:fused")
    )  # fmt: skip
    assert (together - alone).abs().max() > 1e-4
    assert torch.allclose(together, mixed, atol=1e-4)
    assert torch.allclose(together, turned, atol=1e-4)


@NEEDS_PEFT
def test_projections_are_joined_with_a_fused_one_only(load, style):
    with pytest.raises(ConfigurationError, match=r"leave out what a LoRA adds.*attn\.to_q.*:fused"):
        optimise_networks(load(str(style)), ["fused_projections"])
    merged = load(f"{style}:fused")
    alone = draw(merged)
    optimise_networks(merged, ["fused_projections"])
    assert torch.allclose(draw(merged), alone, atol=1e-5)


@NEEDS_PEFT
@pytest.mark.parametrize("layer", ["transformer.other.0.to_q", "text_encoder_2.layers.0.to_q"])
def test_one_that_fits_in_part_is_refused(load, save, layer):
    def add(tensors):
        tensors[f"{layer}.lora_A.weight"] = torch.ones(2, 2)
        tensors[f"{layer}.lora_B.weight"] = torch.ones(2, 2)

    with pytest.raises(
        ModelError, match="fits a part of a QwenImagePipeline only; got: 2 of its 4"
    ):
        load(str(save("part", change=add)))


@NEEDS_PEFT
def test_a_pipeline_without_values_takes_one(tiny_folder, style):
    folder = tiny_folder("qwen-image")
    pipeline = load_pipeline(resolve(folder, ""), torch_dtype=torch.float32, device="meta")
    lora.load_loras(pipeline, resolve(folder, str(style)).loras)
    assert any("lora" in name for name, _ in pipeline.transformer.named_modules())


@NEEDS_PEFT
def test_one_of_zeros_is_refused(load, save):
    def clear(tensors):
        tensors[f"{LAYER}.lora_B.weight"].zero_()

    with pytest.raises(ModelError, match="changes nothing in a QwenImagePipeline; got: a product"):
        load(str(save("zeros", change=clear)))


def test_a_configuration_in_it_that_names_code_is_refused(tiny_folder, save, installed):
    said = {"transformer.megatron_config": {"a": 1}, "transformer.megatron_core": "antigravity"}
    path = save("code", metadata={"lora_adapter_metadata": json.dumps(said)})
    with pytest.raises(ModelError, match=r"the LoRA code\.safetensors names code to run"):
        resolve(tiny_folder("qwen-image"), str(path))
    plain = {"transformer.megatron_config": None, "transformer.megatron_core": "megatron.core"}
    path = save("plain", metadata={"lora_adapter_metadata": json.dumps(plain)})
    assert resolve(tiny_folder("qwen-image"), str(path)).loras


@pytest.mark.parametrize(
    ("said", "message", "got"),
    [
        ({"transformer.r": 10**12}, "a larger rank than it has", "transformer.r: 1000000000000"),
        (
            {"transformer.r": 1, "transformer.rank_pattern": {"to_q": 10**9}},
            "a larger rank than it has",
            "transformer.rank_pattern: 1000000000",
        ),
        (
            {"transformer.layer_replication": [[0, 10**6]]},
            "repeats layers of the model",
            "'transformer.layer_replication': [[0, 1000000]]",
        ),
    ],
)
def test_a_configuration_in_it_that_takes_memory_without_weights_is_refused(
    tiny_folder, save, installed, said, message, got
):
    path = save("huge", metadata={"lora_adapter_metadata": json.dumps(said)})
    with pytest.raises(ModelError, match=rf"the LoRA huge\.safetensors .*{message}") as told:
        resolve(tiny_folder("qwen-image"), str(path))
    assert told.value.got == got
    plain = {"transformer.r": 2, "transformer.layer_replication": None}
    path = save("usual", metadata={"lora_adapter_metadata": json.dumps(plain)})
    assert resolve(tiny_folder("qwen-image"), str(path)).loras


@pytest.mark.parametrize("shape", [(0, 9000), (1, 9000)])
def test_a_matrix_of_few_weights_allows_no_large_rank(tiny_folder, save, installed, shape):
    def add(tensors):
        tensors["text_encoder.layers.0.to_q.lora_B.weight"] = torch.zeros(shape)

    said = {"transformer.r": 2, "transformer.rank_pattern": {"to_k": 9000}}
    path = save("thin", change=add, metadata={"lora_adapter_metadata": json.dumps(said)})
    with pytest.raises(ModelError, match="a larger rank than it has") as told:
        resolve(tiny_folder("qwen-image"), str(path))
    assert told.value.expected == "2 or less, the largest rank of its matrices"


def test_a_pipeline_without_loras_says_so():
    with pytest.raises(ModelError, match="takes no LoRA"):
        lora.load_loras(object(), [object()])


def test_cases_of_another_lora_are_not_compared():
    plain = measurement()
    use = LoraUse("style.safetensors", "3f2a90c1" * 8, 0.8, is_fused=False)
    styled = dataclasses.replace(plain, loras=(use,))
    moved = dataclasses.replace(styled, loras=(dataclasses.replace(use, name="other"),))
    assert explain_difference(styled, moved) is None
    assert explain_difference(plain, styled).reason == (
        "another workload: no LoRA was loaded into the model, and now "
        "style.safetensors (3f2a90c1) at 0.8"
    )
    fused = dataclasses.replace(use, is_fused=True)
    assert (
        "0.8, fused"
        in explain_difference(styled, dataclasses.replace(plain, loras=(fused,))).reason
    )
    other = dataclasses.replace(plain.workload, lora="style.safetensors")
    assert other.fingerprint() == plain.workload.fingerprint()


def test_a_name_out_of_a_run_is_printed_without_control_characters():
    use = LoraUse("\x1b[2Jstyle\n", "\x07" * 64, 1.0, is_fused=False)
    assert use.describe() == "?[2Jstyle? (????????) at 1"


@pytest.mark.parametrize("value", ["(a+)+$", {"(a+)+$": 4}])
def test_a_pattern_in_it_that_could_take_forever_is_refused(tiny_folder, save, installed, value):
    said = json.dumps({"transformer.target_modules": value})
    path = save("endless", metadata={"lora_adapter_metadata": said})
    with pytest.raises(ModelError, match=r"endless\.safetensors has a pattern of layers") as told:
        resolve(tiny_folder("qwen-image"), str(path))
    assert told.value.got == "transformer.target_modules: a group that repeats: (a+)+$"


def test_a_tensor_whose_name_is_a_pattern_is_refused(tiny_folder, save, installed):
    def add(tensors):
        tensors["transformer.(a+)+.lora_B.weight"] = torch.ones(2, 3)

    with pytest.raises(ModelError, match="has a tensor whose name is that of no layer") as told:
        resolve(tiny_folder("qwen-image"), str(save("odd", change=add)))
    assert told.value.got == "transformer.(a+)+.lora_B.weight"


@NEEDS_PEFT
@pytest.mark.parametrize("end", ["lora_B.weight", "alpha"])
def test_one_of_more_layers_than_there_are_is_refused_before_it_is_loaded(load, save, end):
    def add(tensors):
        for number in range(3000):
            tensors[f"transformer.blocks.{number}.to_q.{end}"] = torch.ones(1, 1)

    with pytest.raises(ModelError, match=r"fits a part of .* only; got: weights for 300\d layers"):
        load(str(save("many", change=add)))
