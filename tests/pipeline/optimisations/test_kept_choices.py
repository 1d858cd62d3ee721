"""Code that chooses an attention kernel is kept by torch as other compiled code is."""

import pytest
import torch
from torch._functorch._aot_autograd.autograd_cache import (
    BypassAOTAutogradCache,
    check_cacheable,
)
from torch._inductor import config

from sdperf.pipeline.optimisations.attention import choose_torchs_kernel
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
