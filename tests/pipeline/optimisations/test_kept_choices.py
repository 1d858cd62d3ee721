"""Code that chooses an attention kernel is kept by torch as other compiled code is."""

from types import SimpleNamespace

import pytest
import torch
from torch._functorch._aot_autograd.autograd_cache import (
    BypassAOTAutogradCache,
    check_cacheable,
)
from torch._inductor import config

from sdperf.errors import ConfigurationError
from sdperf.pipeline.optimisations.attention import choose_torchs_kernel
from sdperf.pipeline.optimisations.networks import optimise_networks
from tests.pipeline.optimisations.test_hook_pipelines import load

MARKED = "unsafe_marked_cacheable_functions"

pytestmark = pytest.mark.skipif(
    not hasattr(config, MARKED), reason="this torch has no such setting"
)


def trace(tiny_folder, kernel):
    """Return what torch traces of one attention with a kernel of its own choice."""
    transformer = load(tiny_folder, "flux2-klein").transformer
    choose_torchs_kernel(transformer, kernel)
    attention = transformer.single_transformer_blocks[0].attn
    graphs = []

    def keep(graph, _inputs):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    width = attention.to_qkv_mlp_proj.in_features
    with torch.no_grad():
        torch.compile(attention, backend=keep)(torch.zeros(1, 8, width))
    torch._dynamo.reset()
    return graphs


def test_torch_keeps_what_it_traced_of_chosen_kernels(tiny_folder):
    with config.patch({MARKED: {"others": "kept"}}):
        (graph,) = trace(tiny_folder, "sdpa_math")
        check_cacheable(graph)
        assert config.unsafe_marked_cacheable_functions["others"] == "kept"
    with (
        config.patch({MARKED: {}}),
        pytest.raises(BypassAOTAutogradCache, match="Unsupported call_function target"),
    ):
        check_cacheable(graph)


def test_the_kernel_is_part_of_what_kept_code_is_found_by(tiny_folder):
    with config.patch({MARKED: {}}):
        codes = [trace(tiny_folder, name)[0].code for name in ("sdpa_math", "sdpa_flash")]
    assert "'MATH'" in codes[0]
    assert "'FLASH_ATTENTION'" in codes[1]


class Adapter(torch.nn.Module):
    """An attention processor with weights, as IP adapters bring."""

    def forward(self, *arguments):
        raise NotImplementedError


class BareAttention(torch.nn.Module):
    """Attention that calls torch's own function, with no processor."""


def damage(transformer, fault):
    attention = transformer.single_transformer_blocks[0].attn
    if fault == "Adapter":
        del attention.processor
        attention.processor = Adapter()
    elif fault == "BareAttention":
        transformer.single_transformer_blocks[0].more = BareAttention()


@pytest.fixture
def no_code(monkeypatch):
    """Nothing is compiled, and no folder is made."""
    networks = "sdperf.pipeline.optimisations.networks"
    monkeypatch.setattr(f"{networks}.keep_compiled_code", lambda: None)
    monkeypatch.setattr(f"{networks}.compile_blocks", lambda *_: None)
    monkeypatch.setattr(f"{networks}.compile_decoder", lambda *_: None)


@pytest.mark.parametrize("fault", ["Adapter", "BareAttention", "Linear", None])
def test_code_is_not_kept_where_the_kernel_is_chosen_around_it(tiny_folder, no_code, fault):
    pipeline = load(tiny_folder, "flux2-klein")
    if fault == "Linear":
        vae = torch.nn.Conv2d(1, 1, 1)
        pipeline = SimpleNamespace(transformer=torch.nn.Linear(1, 1), vae=vae)
    else:
        damage(pipeline.transformer, fault)
    with config.patch({MARKED: {}}):
        optimise_networks(pipeline, ("compile_vae", "kept_code", "sdpa_math"))
        if fault is None:
            optimise_networks(pipeline, ("compile_blocks", "kept_code", "sdpa_math"))
            return
        optimise_networks(pipeline, ("compile_blocks", "sdpa_math"))
        with pytest.raises(ConfigurationError, match="for sdpa_math cannot be kept") as refused:
            optimise_networks(pipeline, ("compile_blocks", "kept_code", "sdpa_math"))
    assert f"attention by {fault}" in str(refused.value)
    assert "leave kept_code or sdpa_math out" in refused.value.hint
