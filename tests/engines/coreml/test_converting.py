"""Converted programs are read, operation by operation; nothing here runs on Core ML."""

import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("coremltools", reason="CORE ML IS NOT TESTED: pip install 'sdperf[coreml]'")

import coremltools as ct
from diffusers import UNet2DConditionModel

from sdperf.engines.coreml.attention import SplitEinsumProcessor, split_attention
from sdperf.engines.coreml.converting import convert_part, pick_rows
from sdperf.engines.coreml.settings import CoreMlSettings
from sdperf.engines.parts import split_pipeline
from sdperf.errors import EngineError
from sdperf.images.component import compute_component_distance
from tests.support import tiny_pipelines

pytestmark = pytest.mark.long

SIZE = 32
HEADS = 2
ATTENTIONS = 4
"""Of `one_level_unet`: two in each of two transformers."""

PLAIN, SPLIT = CoreMlSettings(), CoreMlSettings(attention="split_einsum", units="cpu_and_ne")
FLOAT16, FLOAT32, INT32 = 65552, 65568, 131104
"""As `ArrayFeatureType.ArrayDataType` of Core ML's format numbers them."""


def one_level_unet(**shape):
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=HEADS,
        **shape,
    ).eval()


def split(pipeline, family):
    size = {"height": SIZE, "width": SIZE}
    parts = split_pipeline(pipeline, family=family, guided=True, **size)
    return {part.name: part for part in parts}


@pytest.fixture(scope="module")
def sd(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    pipeline.unet = one_level_unet(cross_attention_dim=16)
    return split(pipeline, "sd")


@pytest.fixture(scope="module")
def sdxl(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sdxl"))
    pipeline.unet = one_level_unet(
        cross_attention_dim=40,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24 + 6 * 8,
    )
    return split(pipeline, "sdxl")


class Converted:
    """A program as it lies on disk."""

    def __init__(self, part, settings, folder, *, half):
        folder.mkdir()
        self.package = convert_part(part, settings, half=half, folder=folder)
        self.model = ct.models.MLModel(str(self.package), skip_model_load=True)
        self.description = self.model.get_spec().description
        function = self.model.get_spec().mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]

    def count(self):
        return Counter(operation.type for operation in self.block.operations)

    def types_of(self, kind):
        """List the element types of what operations of a kind give."""
        return {
            output.type.tensorType.dataType
            for operation in self.block.operations
            if operation.type == kind
            for output in operation.outputs
        }

    def weights(self):
        from coremltools.optimize.coreml import get_weights_metadata

        return [one.val for one in get_weights_metadata(self.model, weight_threshold=16).values()]

    def size_bytes(self):
        return sum(one.stat().st_size for one in self.package.rglob("*") if one.is_file())


@pytest.fixture(scope="module")
def plain_unet(sd, tmp_path_factory):
    return Converted(sd["unet"], PLAIN, tmp_path_factory.mktemp("plain") / "unet", half=False)


@pytest.fixture(scope="module")
def split_unet(sd, tmp_path_factory):
    return Converted(sd["unet"], SPLIT, tmp_path_factory.mktemp("split") / "unet", half=True)


def features_of(features):
    return {
        one.name: (tuple(one.type.multiArrayType.shape), one.type.multiArrayType.dataType)
        for one in features
    }


def has_weight(weights, wanted):
    """Tell whether a weight is in the program, rounded to its format; 1 x 1 kernels may be flat."""
    return any(
        found.size == wanted.size and np.array_equal(found.ravel(), wanted.astype(found.dtype))
        for found in weights
    )


def flat_weights(part):
    return [
        weight.detach().numpy().ravel() for weight in part.network.parameters() if weight.ndim > 1
    ]


def test_a_program_takes_the_rows_of_one_image_in_32_bits(plain_unet, split_unet):
    for converted in (plain_unet, split_unet):
        assert features_of(converted.description.input) == {
            "sample": ((2, 4, 8, 8), FLOAT32),
            "timestep": ((1,), FLOAT32),
            "encoder_hidden_states": ((2, 24, 16), FLOAT32),
        }
        assert features_of(converted.description.output) == {"noise": ((2, 4, 8, 8), FLOAT32)}


def test_attention_is_one_operator_or_two_einsums_a_head(plain_unet, split_unet):
    plain, heads = plain_unet.count(), split_unet.count()
    assert plain["scaled_dot_product_attention"] == ATTENTIONS
    assert plain["einsum"] == 0
    assert heads["einsum"] == 2 * HEADS * ATTENTIONS
    assert heads["scaled_dot_product_attention"] == 0
    assert plain["conv"] == heads["conv"] > 0


def test_every_weight_is_in_the_program(sd, plain_unet, split_unet):
    for converted in (plain_unet, split_unet):
        found = converted.weights()
        wanted = flat_weights(sd["unet"])
        assert all(has_weight(found, weight) for weight in wanted)
        assert not has_weight(found, wanted[0] + 1e-2)


def test_weights_lie_in_the_precision_that_was_asked_for(plain_unet, split_unet):
    assert {weight.dtype for weight in plain_unet.weights()} == {np.dtype("float32")}
    halved = [weight.dtype == np.float16 for weight in split_unet.weights()]
    assert halved.count(False) <= 1, "only the frequencies of the sinusoids stay in 32 bits"
    assert halved.count(True) > 50


def test_only_the_sinusoids_of_a_half_program_are_in_32_bits(split_unet):
    from coremltools.proto import MIL_pb2 as mil

    assert split_unet.types_of("sin") == split_unet.types_of("cos") == {mil.FLOAT32}
    for kind in ("conv", "linear", "einsum", "softmax", "silu"):
        assert split_unet.types_of(kind) == {mil.FLOAT16}, kind


class Sum(torch.nn.Module):
    """Stands for XL's UNet and reads all that it is given."""

    def forward(self, sample, timestep, context, *, added_cond_kwargs, return_dict):
        added = sum(one.mean() for one in added_cond_kwargs.values())
        return (sample + timestep + context.mean() + added,)


def test_the_inputs_of_xl_keep_their_names(sdxl, tmp_path):
    module = copy.deepcopy(sdxl["unet"].module)
    module.network = Sum()
    part = replace(sdxl["unet"], module=module)
    inputs = features_of(Converted(part, PLAIN, tmp_path / "unet", half=True).description.input)
    assert list(inputs) == list(part.inputs)
    assert inputs["time_ids"] == ((2, 6), FLOAT32)


def test_a_text_encoder_takes_ids_that_float16_cannot_hold(sdxl, tmp_path):
    converted = Converted(sdxl["text_encoder_2"], PLAIN, tmp_path / "text", half=True)
    assert features_of(converted.description.input) == {"input_ids": ((1, 24), INT32)}
    assert list(features_of(converted.description.output)) == ["text_embeds", "penultimate"]


def test_a_part_is_left_as_it_was(sd, split_unet):
    kinds = {type(one) for one in sd["unet"].network.attn_processors.values()}
    assert SplitEinsumProcessor not in kinds


class Kernel(torch.nn.Module):
    """One convolution, as a UNet has many."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(4, 96, 3, padding=1, bias=False)

    def forward(self, sample):
        return (self.conv(sample),)


@pytest.mark.parametrize(("bits", "palettes"), [(6, 1), (4, 96 // 16)])
def test_palettes_have_as_many_values_as_their_bits_name(sd, tmp_path, bits, palettes):
    """Those of 4 bits are shared by 16 output channels each."""
    kernel = Kernel()
    inputs = {"sample": sd["unet"].inputs["sample"]}
    part = replace(sd["unet"], module=kernel, inputs=inputs, fixed=frozenset())
    converted = Converted(part, replace(SPLIT, bits=bits), tmp_path / "unet", half=True)
    assert converted.count()["constexpr_lut_to_dense"] == 1
    (colours,) = (one for one in converted.weights() if one.ndim == 4 + 2)
    (places,) = (one for one in converted.weights() if one.shape == (96, 4, 3, 3))
    assert places.max() == 2**bits - 1
    each = colours.reshape(palettes, 2**bits).repeat(96 // palettes, axis=0)
    found = np.take_along_axis(each, places.reshape(96, -1).astype(int), axis=1)
    wanted = kernel.conv.weight.detach().numpy().reshape(96, -1)
    spread = wanted.max() - wanted.min()
    assert np.abs(found - wanted).max() < 2 * spread / 2**bits


@torch.no_grad()
@pytest.mark.parametrize("family", ["sd", "sdxl"])
def test_split_attention_computes_the_same(family, request):
    part = request.getfixturevalue(family)["unet"]
    inputs = tuple(pick_rows(part).values())
    (expected,) = part.module(*inputs)
    network = part.network
    processors = network.attn_processors
    split_attention(part.module)
    try:
        assert {type(one) for one in network.attn_processors.values()} == {SplitEinsumProcessor}
        (found,) = part.module(*inputs)
    finally:
        network.set_attn_processor(processors)
    distance = compute_component_distance("unet", "noise", expected.numpy(), found.numpy())
    assert distance.psnr_db >= 60


def test_split_attention_takes_no_mask(sd):
    attention = sd["unet"].network.mid_block.attentions[0].transformer_blocks[0].attn1
    with pytest.raises(ValueError, match="takes no mask"):
        SplitEinsumProcessor()(attention, torch.zeros(1, 4, 16), attention_mask=torch.ones(1))


class Determinant(torch.nn.Module):
    """Something that Core ML has no operator for."""

    def forward(self, latents):
        return (torch.linalg.det(latents),)


class Undecided(torch.nn.Module):
    """Something that torch cannot export."""

    def forward(self, latents):
        return (latents if latents.sum() > 0 else -latents,)


@pytest.mark.parametrize("module", [Determinant(), Undecided()])
def test_what_cannot_be_converted_is_one_message(sd, tmp_path, module):
    part = replace(sd["vae_decoder"], module=module)
    with pytest.raises(EngineError, match="vae_decoder cannot be converted") as caught:
        convert_part(part, PLAIN, half=False, folder=tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert not any(tmp_path.iterdir())
