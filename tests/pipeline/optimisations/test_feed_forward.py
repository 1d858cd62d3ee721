"""GELU in the kernel of its product: the same numbers, the right operator, or refused."""

import numpy as np
import pytest
import torch
from diffusers.hooks import apply_layerwise_casting
from diffusers.models.activations import GELU
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.catalogue import QUANTISATIONS, find_conflict
from sdperf.pipeline.optimisations.feed_forward import FusedGelu, fuse_gelu
from sdperf.pipeline.optimisations.networks import optimise_networks
from tests.pipeline.test_stages import bound
from tests.support import tiny_pipelines


class Called(TorchDispatchMode):
    """Notes the operators that are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append((function._schema.name, (kwargs or {}).get("use_gelu")))
        return function(*args, **(kwargs or {}))


def make_layer(dtype=torch.float32):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GELU(8, 24, approximate="tanh").to(dtype), torch.randn(2, 5, 8).to(dtype)


@pytest.mark.parametrize("name", ["qwen-image", "sd3", "flux"])
def test_the_picture_is_that_of_the_plain_pipeline(tiny_folder, name):
    pictures, fused = [], []
    for names in ((), ("fused_gelu",)):
        pipeline = tiny_pipelines.take(tiny_folder(name))
        pipeline.set_progress_bar_config(disable=True)
        optimise_networks(pipeline, names)
        guidance = 1.0 if name == "flux" else 3.0
        stages, prompts, noise = bound(pipeline, guidance_scale=guidance)
        pictures.append(stages.run_whole(prompts, noise))
        fused.append([part for part in pipeline.transformer.modules() if type(part) is FusedGelu])
    np.testing.assert_allclose(pictures[1], pictures[0], atol=1e-5)
    assert not fused[0]
    assert fused[1]


def test_a_layer_is_equal_and_keeps_its_weights():
    plain, states = make_layer()
    fused = FusedGelu(plain.proj)
    torch.testing.assert_close(fused(states), plain(states))
    assert list(fused.state_dict()) == list(plain.state_dict())
    compiled = torch.compile(fused, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(states), plain(states))


def test_a_gpu_takes_one_operator_for_both():
    with torch.no_grad(), FakeTensorMode():
        product = torch.nn.Linear(8, 24, device="meta")
        product.weight, product.bias = (
            torch.nn.Parameter(torch.empty(*shape, device="cuda")) for shape in ((24, 8), (24,))
        )
        layer = FusedGelu(product)
        states = torch.empty(2, 5, 8, device="cuda")
        with Called() as called:
            raised = layer(states)
    assert raised.shape == (2, 5, 24)
    names = dict(called.names)
    assert names["aten::_addmm_activation"] is True
    assert not {"aten::gelu", "aten::addmm"} & set(names)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_same_numbers(dtype):
    plain, states = (each.to("cuda") for each in make_layer(dtype))
    torch.testing.assert_close(FusedGelu(plain.proj)(states), plain(states))


@pytest.mark.parametrize("name", ["z-image", "flux2-klein", "sd"])
def test_a_network_without_such_layers_is_refused(tiny_folder, name):
    with pytest.raises(ConfigurationError, match="fused_gelu finds nothing in"):
        optimise_networks(tiny_pipelines.take(tiny_folder(name)), ("fused_gelu",))


def test_a_layer_with_something_of_others_around_its_product_is_left_alone():
    class Adapted(torch.nn.Linear):
        """A product to which a LoRA adds something."""

    class Packed(torch.Tensor):
        """Weights as torchao keeps them in fewer bits."""

    for change in ("class", "bias", "form", "hook", "outer hook", "offload", "bits"):
        layer = GELU(
            8, 24, approximate="none" if change == "form" else "tanh", bias=change != "bias"
        )
        if change == "class":
            layer.proj = Adapted(8, 24)
        if change.endswith("hook"):
            (layer.proj if change == "hook" else layer).register_forward_hook(print)
        if change == "offload":
            apply_layerwise_casting(layer.proj, torch.float16, torch.float32)
        if change == "bits":
            packed = layer.proj.weight.detach().as_subclass(Packed)
            layer.proj.weight = torch.nn.Parameter(packed, requires_grad=False)
        with pytest.raises(ConfigurationError, match="finds nothing in Sequential"):
            fuse_gelu(torch.nn.Sequential(layer))


def test_weights_in_fewer_bits_are_refused_beside_it():
    for other in QUANTISATIONS:
        names = ("fused_gelu", other, "compile_blocks")
        assert f"fused_gelu or {other}, not both" in find_conflict(names)
    assert find_conflict(("fused_gelu", "fused_projections", "compile_blocks")) is None
