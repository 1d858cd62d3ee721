"""Each predicate just inside and just outside of what it is about."""

import pytest

from sdperf.mps_check.limits import load_limits
from sdperf.mps_check.predicates import PREDICATES
from tests.support.mps_check_making import attention, call, channels_last, packed, strided

HALF = "float16"
BRAIN = "bfloat16"
QUERY = packed(1, 4, 32, 64)
IMAGE = packed(2, 8, 4, 4)
CPU64 = packed(4, dtype="float64", device="cpu")
MPS64 = packed(4, dtype="float64")


def linear(source, weight, bias=None):
    output = packed(*source.shape[:-1], weight.shape[0])
    return call("linear", output, input=source, weight=weight, bias=bias)


def padding(source, pad):
    return call("constant_pad_nd", source, self=source, pad=pad, value=0)


def product(name, left, right, first="self", second="mat2", **named):
    output = packed(*left.shape[:-1], right.shape[-1])
    return call(name, output, **{first: left, second: right, **named})


def short_query(queries=8, heads=64, batch=1, swap=True, dtype="float32"):
    """Queries as most models hand them over: heads and positions swapped in memory."""
    order = (0, 2, 1, 3) if swap else None
    return packed(batch, 3, queries, heads, order=order, dtype=dtype)


def addend(**fields):
    scores = packed(1, 4, 4, **fields)
    return {"self": scores, "batch1": packed(1, 4, 8), "batch2": packed(1, 8, 4)}


def convolution(source, outputs=4, transposed=False, weight=None):
    result = packed(source.shape[0], outputs, *source.shape[2:])
    return call("convolution", result, input=source, weight=weight, transposed=transposed)


SQUARE = 2**15 - 1
"""The largest side of one head's scores below 2^30; two heads' worth is below 2^31."""

CASES = [
    ("any_call", call("cat", IMAGE), None),
    ("introduces_float64", call("_to_copy", MPS64, self=CPU64), call("add", MPS64, self=MPS64)),
    ("introduces_float64", call("arange", MPS64), call("_to_copy", packed(4), self=CPU64)),
    ("introduces_float64", call("zeros", MPS64), call("_to_copy", CPU64, self=MPS64)),
    (
        "introduces_complex128",
        call("polar", packed(2, dtype="complex128")),
        call("polar", packed(2, dtype="complex64")),
    ),
    (
        "introduces_bfloat16",
        linear(packed(2, 4, dtype="bfloat16"), packed(4, 4, dtype="bfloat16")),
        linear(packed(2, 4, dtype=HALF), packed(4, 4, dtype=HALF)),
    ),
    ("complex_input", linear(packed(1, 4, dtype="complex64"), packed(4, 4)), linear(IMAGE, IMAGE)),
    ("integer_input", linear(packed(1, 4, dtype="int32"), packed(4, 4)), linear(IMAGE, IMAGE)),
    (
        "int64_input",
        call("dot", self=packed(4, dtype="int64")),
        call("dot", self=packed(4, dtype="int32")),
    ),
    (
        "reduced_softmax_to_float",
        call("_softmax", self=packed(4, dtype=HALF), half_to_float=True),
        call("_softmax", self=packed(4, dtype=HALF), half_to_float=False),
    ),
    (
        "half_transposed_convolution_3d",
        convolution(packed(1, 2, 3, 3, 3, dtype=HALF), transposed=True),
        convolution(packed(1, 2, 3, 3, 3), transposed=True),
    ),
    (
        "half_transposed_convolution_3d",
        convolution(packed(1, 2, 3, 3, 3, dtype=HALF), transposed=True),
        convolution(packed(1, 2, 3, 3, dtype=HALF), transposed=True),
    ),
    ("too_many_output_channels", convolution(IMAGE, 65537), convolution(IMAGE, 65536)),
    ("dimension_past_int32", call("ones", packed(2**31)), call("ones", packed(2, 2**31 - 1))),
    (
        "oversized_attention",
        attention(packed(1, 2, 2**15, 40), packed(1, 2, 2**15, 40)),
        attention(packed(1, 2, SQUARE, 40), packed(1, 2, 2**15, 40)),
    ),
    (
        "oversized_attention_without_prefill",
        attention(packed(1, 2, 2**15, 40), packed(1, 2, 2**15, 40)),
        attention(packed(1, 2, 2**15, 64), packed(1, 2, 2**15, 64)),
    ),
    (
        "oversized_attention_without_prefill",
        attention(packed(1, 2, 2**15, 64, dtype=HALF), attn_mask=packed(2**15)),
        attention(packed(1, 2, 2**15, 64, dtype=HALF), attn_mask=packed(2**15, dtype="bool")),
    ),
    (
        "oversized_product",
        call("bmm", packed(2**9, 2**11, 2**11)),
        call("bmm", packed(2**9, 2**11, 2**11 - 1)),
    ),
    (
        "oversized_cat_of_strided",
        call("cat", packed(2**16, 2**15), tensors=(packed(2**15, 2**15, order=(1, 0)),)),
        call("cat", packed(2**16, 2**15), tensors=(packed(2**15, 2**15),)),
    ),
    (
        "oversized_cat_of_strided",
        call("cat", packed(2**16, 2**15), tensors=(packed(2**15, 2**15, dtype=HALF),)),
        call("cat", packed(2**16, 2**14), tensors=(packed(2**15, 2**14, dtype=HALF),)),
    ),
    (
        "product_of_input_past_uint32",
        product("bmm", packed(2**16 + 1, 2**8, 2**8), packed(2**16 + 1, 2**8, 4)),
        product("bmm", packed(2**16, 2**8, 2**8), packed(2**16, 2**8, 4)),
    ),
    (
        "strided_product_past_uint32",
        call(
            "bmm",
            packed(2, 2**16, 2**15 + 1),
            self=packed(2, 2**16, 4),
            mat2=packed(2, 4, 2**15 + 1, order=(0, 2, 1)),
        ),
        call(
            "bmm",
            packed(2, 2**16, 2**15),
            self=packed(2, 2**16, 4),
            mat2=packed(2, 4, 2**15, order=(0, 2, 1)),
        ),
    ),
    ("vector_attention_of_strided_query", attention(short_query()), attention(short_query(9))),
    (
        "vector_attention_of_strided_query",
        attention(short_query()),
        attention(short_query(swap=False)),
    ),
    (
        "vector_attention_of_strided_query",
        attention(short_query()),
        attention(short_query(heads=80)),
    ),
    (
        "vector_attention_of_strided_query",
        attention(short_query(8), packed(1, 3, 8, 64)),
        attention(short_query(8), packed(1, 3, 7, 64)),
    ),
    (
        "vector_attention_of_strided_batch",
        attention(short_query(batch=2)),
        attention(short_query(batch=1)),
    ),
    (
        "two_pass_half_attention",
        attention(short_query(1, dtype=HALF), packed(1, 3, 1024, 64, dtype=HALF)),
        attention(short_query(1, dtype=HALF), packed(1, 3, 1023, 64, dtype=HALF)),
    ),
    (
        "two_pass_half_attention",
        attention(short_query(1, dtype=HALF), packed(1, 3, 1024, 64, dtype=HALF)),
        attention(short_query(1), packed(1, 3, 1024, 64)),
    ),
    (
        "causal_half_attention",
        attention(short_query(77, dtype=HALF), is_causal=True),
        attention(short_query(77, dtype=HALF), is_causal=False),
    ),
    (
        "causal_half_attention",
        attention(short_query(2, dtype="bfloat16"), is_causal=True),
        attention(short_query(1, dtype="bfloat16"), is_causal=True),
    ),
    (
        "causal_half_attention",
        attention(short_query(2, dtype=HALF), is_causal=True),
        attention(short_query(2), is_causal=True),
    ),
    (
        "linear_with_strided_weight",
        linear(packed(2, 4), packed(4, 4, order=(1, 0))),
        linear(packed(2, 4), packed(4, 4)),
    ),
    (
        "linear_with_strided_input",
        linear(packed(2, 4, order=(1, 0)), packed(4, 4)),
        linear(packed(2, 4), packed(4, 4)),
    ),
    (
        "linear_with_strided_input",
        linear(packed(2, 4, order=(1, 0)), packed(4, 4)),
        linear(strided(packed(2, 4), 0, 1), packed(4, 4)),
    ),
    (
        "linear_with_expanded_input",
        linear(strided(packed(2, 4), 0, 1), packed(4, 4)),
        linear(strided(packed(1, 4), 0, 1), packed(4, 4)),
    ),
    (
        "sliced_channels_last",
        convolution(strided(packed(1, 4, 4, 4), 128, 1, 32, 8)),
        convolution(channels_last(1, 4, 4, 4)),
    ),
    (
        "sliced_channels_last",
        convolution(strided(packed(1, 4, 4, 4), 128, 1, 32, 8)),
        convolution(packed(1, 4, 4, 4)),
    ),
    (
        "channels_last_weight",
        convolution(IMAGE, weight=channels_last(4, 8, 3, 3)),
        convolution(channels_last(2, 8, 4, 4), weight=packed(4, 8, 3, 3)),
    ),
    (
        "channels_last_weight",
        convolution(IMAGE, weight=channels_last(4, 8, 3, 3)),
        convolution(IMAGE, weight=packed(4, 8, 1, 1)),
    ),
    (
        "convolution_of_strided_weight",
        convolution(IMAGE, weight=strided(packed(4, 8, 3, 3), 216, 27, 3, 1)),
        convolution(IMAGE, weight=packed(4, 8, 3, 3)),
    ),
    (
        "convolution_of_strided_weight",
        convolution(IMAGE, weight=strided(packed(4, 8, 3, 3), 216, 27, 3, 1)),
        convolution(IMAGE, weight=channels_last(4, 8, 3, 3)),
    ),
    (
        "convolution_of_channel_chunk",
        convolution(strided(packed(2, 4, 4, 4), 128, 16, 4, 1)),
        convolution(strided(packed(1, 4, 4, 4), 128, 16, 4, 1)),
    ),
    (
        "convolution_of_channel_chunk",
        convolution(strided(packed(2, 4, 4, 4), 128, 16, 4, 1)),
        convolution(packed(2, 4, 4, 4)),
    ),
    (
        "ignored_uninitialised_addend",
        call("baddbmm", packed(1, 4, 4), **addend(is_uninitialised=True), beta=0),
        call("baddbmm", packed(1, 4, 4), **addend(is_uninitialised=False), beta=0),
    ),
    (
        "ignored_uninitialised_addend",
        call("baddbmm", packed(1, 4, 4), **addend(is_uninitialised=True), beta=0),
        call("baddbmm", packed(1, 4, 4), **addend(is_uninitialised=True), beta=1),
    ),
    (
        "long_inner_dimension",
        product("mm", packed(16, 32767), packed(32767, 16)),
        product("mm", packed(16, 32766), packed(32766, 16)),
    ),
    (
        "long_inner_dimension",
        product("mm", packed(16, 32767), packed(32767, 16)),
        product("mm", packed(15, 32767), packed(32767, 16)),
    ),
    (
        "long_inner_dimension",
        product("baddbmm", packed(1, 16, 32767), packed(1, 32767, 16), "batch1", "batch2"),
        product("baddbmm", packed(1, 16, 32767), packed(1, 32767, 15), "batch1", "batch2"),
    ),
    (
        "long_inner_dimension",
        linear(packed(2, 8, 32767), packed(16, 32767)),
        linear(packed(2, 7, 32767), packed(16, 32767)),
    ),
    (
        "bfloat16_linear_of_transposed_weight",
        linear(packed(1, 2, 4), packed(4, 4, order=(1, 0), dtype=BRAIN)),
        linear(packed(2, 4), packed(4, 4, order=(1, 0), dtype=BRAIN)),
    ),
    (
        "bfloat16_linear_of_transposed_weight",
        linear(packed(1, 2, 4), packed(4, 4, order=(1, 0), dtype=BRAIN)),
        linear(packed(1, 2, 4), packed(4, 4, order=(1, 0), dtype=HALF)),
    ),
    (
        "linear_of_three_dimensions_with_bias",
        linear(packed(2, 3, 4), packed(4, 4), bias=packed(4)),
        linear(packed(2, 3, 4), packed(4, 4), bias=None),
    ),
    (
        "linear_of_three_dimensions_with_bias",
        linear(packed(2, 3, 4), packed(4, 4), bias=packed(4)),
        linear(packed(2, 4), packed(4, 4), bias=packed(4)),
    ),
    (
        "half_linear_of_three_dimensions_without_bias",
        linear(packed(2, 3, 4, dtype=HALF), packed(4, 4), bias=None),
        linear(packed(2, 3, 4, dtype=HALF), packed(4, 4), bias=packed(4)),
    ),
    (
        "half_linear_of_three_dimensions_without_bias",
        linear(packed(2, 3, 4, dtype=HALF), packed(4, 4), bias=None),
        linear(packed(2, 3, 4), packed(4, 4), bias=None),
    ),
    (
        "linear_with_bias_of_many_batches",
        linear(packed(65537, 3, 4), packed(4, 4), bias=packed(4)),
        linear(packed(65536, 3, 4), packed(4, 4), bias=packed(4)),
    ),
    (
        "pads_frames_of_large_images",
        padding(packed(1, 1, 4, 64, 1024), (0, 0, 0, 0, 2, 0)),
        padding(packed(1, 1, 4, 64, 1023), (0, 0, 0, 0, 2, 0)),
    ),
    (
        "pads_frames_of_large_images",
        padding(packed(1, 1, 4, 64, 1024), (0, 0, 0, 0, 0, 1)),
        padding(packed(1, 1, 4, 64, 1024), (1, 1, 1, 1, 2, 0)),
    ),
    (
        "pads_frames_of_large_images",
        padding(packed(1, 1, 4, 64, 1024), (0, 0, 0, 0, 2, 0)),
        padding(packed(1, 4, 64, 1024), (0, 0, 0, 0, 2, 0)),
    ),
    (
        "convolution_over_three_dimensions",
        convolution(packed(1, 4, 2, 4, 4)),
        convolution(packed(1, 4, 4, 4)),
    ),
    (
        "attention_of_other_value_size",
        attention(packed(1, 1, 8, 4), packed(1, 1, 8, 4), packed(1, 1, 8, 2)),
        attention(packed(1, 1, 8, 4)),
    ),
    (
        "vector_attention_of_partial_mask",
        attention(packed(2, 4, 8, 64), attn_mask=packed(2, 1, 8, 8)),
        attention(packed(2, 4, 9, 64), attn_mask=packed(2, 1, 9, 9)),
    ),
    (
        "vector_attention_of_partial_mask",
        attention(packed(2, 4, 8, 64), attn_mask=packed(2, 1, 8, 8)),
        attention(packed(2, 4, 8, 64), attn_mask=packed(2, 4, 8, 8)),
    ),
    ("attention_by_graph", attention(packed(1, 1, 9, 64)), attention(packed(1, 1, 8, 64))),
    ("attention_by_graph", attention(packed(1, 1, 8, 256)), attention(packed(1, 1, 8, 128))),
    (
        "attention_by_graph_without_prefill",
        attention(packed(1, 1, 9, 40)),
        attention(packed(1, 1, 9, 64)),
    ),
    (
        "attention_by_graph_without_prefill",
        attention(packed(1, 1, 8, 40)),
        attention(packed(1, 1, 8, 256)),
    ),
    ("long_attention", attention(packed(1, 1, 256, 64)), attention(packed(1, 1, 255, 64))),
    (
        "long_attention_without_prefill",
        attention(packed(1, 1, 256, 40)),
        attention(packed(1, 1, 256, 64)),
    ),
    (
        "attention_in_multihead_module",
        attention(QUERY, module_class="MultiheadAttention"),
        attention(QUERY, module_class="Attention"),
    ),
    (
        "product_of_middle_size",
        product("mm", packed(768, 64), packed(64, 64)),
        product("mm", packed(767, 64), packed(64, 64)),
    ),
    (
        "product_of_middle_size",
        linear(packed(2, 1536, 64), packed(64, 64)),
        linear(packed(2, 1537, 64), packed(64, 64)),
    ),
    (
        "compiled_call",
        call("native_layer_norm", IMAGE, is_compiled=True),
        call("native_layer_norm", IMAGE),
    ),
    (
        "non_blocking_copy_to_device",
        call("_to_copy", packed(4), self=packed(4, device="cpu"), non_blocking=True),
        call("_to_copy", packed(4), self=packed(4, device="cpu"), non_blocking=False),
    ),
    (
        "non_blocking_copy_to_device",
        call("copy_", packed(4), self=packed(4), src=packed(4, device="cpu"), non_blocking=True),
        call("_to_copy", packed(4), self=packed(4), non_blocking=True),
    ),
    (
        "cpu_scalar_with_offset",
        call("mul", IMAGE, self=packed(device="cpu", storage_offset=1), other=IMAGE),
        call("mul", IMAGE, self=packed(device="cpu"), other=IMAGE),
    ),
    (
        "cpu_scalar_with_offset",
        call("mul", IMAGE, self=IMAGE, other=packed(device="cpu", storage_offset=1)),
        call("mul", IMAGE, self=IMAGE, other=packed(storage_offset=1)),
    ),
    (
        "cpu_scalar_with_offset",
        call("mul", IMAGE, self=IMAGE, other=packed(device="cpu", storage_offset=1)),
        call("mul", CPU64, self=CPU64, other=packed(device="cpu", storage_offset=1)),
    ),
    ("draws_on_mps", call("randn", packed(4)), call("randn", packed(4, device="cpu"))),
    ("second_thread", call("add", IMAGE, thread=1), call("add", IMAGE, thread=0)),
]


@pytest.mark.parametrize(("name", "inside", "outside"), CASES)
def test_a_predicate_holds_just_inside_and_not_just_outside(name, inside, outside):
    assert PREDICATES[name](inside)
    assert outside is None or not PREDICATES[name](outside)


def test_every_predicate_has_a_case_and_is_used():
    assert {name for name, *_ in CASES} == set(PREDICATES)
    assert {limit.predicate for limit in load_limits()} == set(PREDICATES)


@pytest.mark.parametrize("name", sorted(PREDICATES))
def test_a_predicate_bears_a_call_that_lacks_everything(name):
    assert PREDICATES[name](call("nothing")) is (name == "any_call")
