"""Predicates for the calls of a known limit: pure functions of a call, named in ``limits.toml``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from sdperf.mps_check.attention import (
    attention_scores,
    takes_prefill_kernel,
    takes_vector_kernel,
)
from sdperf.mps_check.calls import MPS, OperatorCall, SeenTensor

Predicate = Callable[[OperatorCall], bool]

PREDICATES: Final[dict[str, Predicate]] = {}
"""The predicates by name."""

HALF_DTYPES: Final = ("float16", "bfloat16")
INTEGER_DTYPES: Final = ("int8", "uint8", "int16", "int32", "int64", "bool")
COMPLEX_DTYPES: Final = ("complex32", "complex64", "complex128")

_INDEX_LIMIT: Final = 2**31
_MATMUL_LIMIT: Final = 2**32
_SIXTEEN_BITS: Final = 65536
_LAST_RIGHT_K: Final = 32766
_FEWEST_WRONG_SIDE: Final = 16
_TWO_PASS_KEYS: Final = 1024
_SHORTEST_MEASURED: Final = 256
_FEWEST_SLOW_ROWS: Final = 768
_MOST_SLOW_ROWS: Final = 3072


def predicate(function: Predicate) -> Predicate:
    """Register a predicate under its own name."""
    PREDICATES[function.__name__] = function
    return function


@predicate
def any_call(_call: OperatorCall) -> bool:
    """The operator is called at all."""
    return True


@predicate
def introduces_float64(call: OperatorCall) -> bool:
    """A float64 tensor appears on MPS where none went in; what follows from it is not repeated."""
    return _introduces(call, ("float64",))


@predicate
def introduces_complex128(call: OperatorCall) -> bool:
    """A complex128 tensor appears on MPS where none went in."""
    return _introduces(call, ("complex128",))


@predicate
def introduces_bfloat16(call: OperatorCall) -> bool:
    """A bfloat16 tensor appears on MPS where none went in, or is a weight."""
    return _introduces(call, ("bfloat16",)) or any(
        tensor.dtype == "bfloat16" for tensor in call.inputs
    )


@predicate
def complex_input(call: OperatorCall) -> bool:
    """An input is complex."""
    return any(tensor.dtype in COMPLEX_DTYPES for tensor in call.inputs)


@predicate
def integer_input(call: OperatorCall) -> bool:
    """An input holds integers."""
    return any(tensor.dtype in INTEGER_DTYPES for tensor in call.inputs)


@predicate
def int64_input(call: OperatorCall) -> bool:
    """An input holds 64-bit integers."""
    return any(tensor.dtype == "int64" for tensor in call.inputs)


@predicate
def reduced_softmax_to_float(call: OperatorCall) -> bool:
    """A softmax that turns 16 bits into 32 inside the operator."""
    return call.get("half_to_float") is True


@predicate
def half_transposed_convolution_3d(call: OperatorCall) -> bool:
    """A transposed convolution over three dimensions in 16 bits."""
    source = call.tensor("input", "self")
    return (
        call.get("transposed") is True
        and source is not None
        and len(source.shape) == 5
        and source.dtype in HALF_DTYPES
    )


@predicate
def too_many_output_channels(call: OperatorCall) -> bool:
    """A convolution to more than 65536 channels."""
    return any(len(each.shape) > 1 and each.shape[1] > _SIXTEEN_BITS for each in call.outputs)


@predicate
def dimension_past_int32(call: OperatorCall) -> bool:
    """A tensor has a dimension that 31 bits cannot hold."""
    return any(
        size >= _INDEX_LIMIT for each in (*call.inputs, *call.outputs) for size in each.shape
    )


@predicate
def oversized_attention(call: OperatorCall) -> bool:
    """Attention whose scores, B x H x L x S, are 2^31 elements or more."""
    shape = attention_scores(call)
    return shape is not None and math.prod(shape) >= _INDEX_LIMIT


@predicate
def oversized_attention_without_prefill(call: OperatorCall) -> bool:
    """The same, where the kernels that never write the scores out cannot be taken."""
    return oversized_attention(call) and not takes_prefill_kernel(call)


@predicate
def oversized_product(call: OperatorCall) -> bool:
    """A batched matrix product of 2^31 elements or more."""
    return any(each.numel >= _INDEX_LIMIT for each in call.outputs)


@predicate
def oversized_cat_of_strided(call: OperatorCall) -> bool:
    """The same of a cat, with an input that is not contiguous or of another number format."""
    dtypes = {each.dtype for each in (*call.inputs, *call.outputs)}
    is_plain = len(dtypes) == 1 and all(each.is_contiguous for each in call.inputs)
    return oversized_product(call) and not is_plain


@predicate
def product_of_input_past_uint32(call: OperatorCall) -> bool:
    """A batched product with a factor of more than 2^32 elements."""
    return any(each.numel > _MATMUL_LIMIT for each in _factors(call) if each is not None)


@predicate
def strided_product_past_uint32(call: OperatorCall) -> bool:
    """A batched product of more than 2^32 elements with an input that is not contiguous."""
    return any(each.numel > _MATMUL_LIMIT for each in call.outputs) and any(
        not each.is_contiguous for each in call.inputs
    )


@predicate
def vector_attention_of_strided_query(call: OperatorCall) -> bool:
    """Attention of eight queries or fewer, in the kernel that reads the query as if contiguous."""
    query = call.tensor("query")
    return takes_vector_kernel(call) and query is not None and not query.is_contiguous


@predicate
def vector_attention_of_strided_batch(call: OperatorCall) -> bool:
    """The same kernel with a batch of more than one and any input that is not contiguous."""
    inputs = [call.tensor(name) for name in ("query", "key", "value")]
    return (
        takes_vector_kernel(call)
        and any(each is not None and each.shape[0] > 1 for each in inputs)
        and any(each is not None and not each.is_contiguous for each in inputs)
    )


@predicate
def two_pass_half_attention(call: OperatorCall) -> bool:
    """The same kernel's long form, over 1024 keys or more, in 16 bits."""
    query, key = call.tensor("query"), call.tensor("key")
    return (
        takes_vector_kernel(call)
        and query is not None
        and key is not None
        and query.dtype in HALF_DTYPES
        and key.shape[-2] >= _TWO_PASS_KEYS
    )


@predicate
def causal_half_attention(call: OperatorCall) -> bool:
    """Attention with ``is_causal`` in 16 bits, of more than one query."""
    query = call.tensor("query")
    return (
        call.get("is_causal") is True
        and query is not None
        and query.dtype in HALF_DTYPES
        and query.shape[-2] > 1
    )


@predicate
def linear_with_strided_weight(call: OperatorCall) -> bool:
    """A linear layer whose weight is not contiguous."""
    weight = call.tensor("weight")
    return weight is not None and not weight.is_contiguous


@predicate
def linear_with_strided_input(call: OperatorCall) -> bool:
    """A linear layer whose input is not contiguous, though all of it is in memory."""
    source = call.tensor("input")
    return source is not None and not source.is_contiguous and not _is_expanded(source)


@predicate
def linear_with_expanded_input(call: OperatorCall) -> bool:
    """A linear layer whose input repeats memory, so that its buffer is smaller than its shape."""
    source = call.tensor("input")
    return source is not None and _is_expanded(source)


@predicate
def sliced_channels_last(call: OperatorCall) -> bool:
    """An input that is a slice of channels of a channels_last tensor."""
    source = call.tensor("input", "self")
    return source is not None and source.looks_channels_last and not source.is_channels_last


@predicate
def channels_last_weight(call: OperatorCall) -> bool:
    """A weight in channels_last; inputs come to be so by themselves, after attention."""
    weight = call.tensor("weight")
    return weight is not None and weight.is_channels_last


@predicate
def convolution_of_strided_weight(call: OperatorCall) -> bool:
    """A convolution whose weight is packed in no order, such as a slice of a larger one."""
    weight = call.tensor("weight")
    return weight is not None and not weight.is_contiguous and not weight.is_channels_last


@predicate
def convolution_of_channel_chunk(call: OperatorCall) -> bool:
    """A convolution of a batch that is a view of some channels of a larger tensor."""
    source = call.tensor("input")
    if source is None or len(source.shape) < 3 or source.shape[0] < 2 or source.is_contiguous:
        return False
    one_image = math.prod(source.shape[1:])
    inner = SeenTensor(source.dtype, source.shape[1:], source.strides[1:])
    return inner.is_contiguous and source.strides[0] > one_image


@predicate
def ignored_uninitialised_addend(call: OperatorCall) -> bool:
    """``beta=0`` over memory that nobody wrote: what is there should not count, and does."""
    addend = call.tensor("self")
    return call.get("beta") == 0 and addend is not None and addend.is_uninitialised


@predicate
def long_inner_dimension(call: OperatorCall) -> bool:
    """A matrix product that sums 32767 terms or more, both sides of the result 16 or more."""
    left, right = _factors(call)
    if left is None or right is None or len(left.shape) < 2 or len(right.shape) < 2:
        return False
    rows = left.shape[-2] if call.name != "linear" else math.prod(left.shape[:-1])
    columns = right.shape[-1] if call.name != "linear" else right.shape[0]
    return left.shape[-1] > _LAST_RIGHT_K and min(rows, columns) >= _FEWEST_WRONG_SIDE


@predicate
def draws_on_mps(call: OperatorCall) -> bool:
    """Random numbers are drawn on MPS itself."""
    return any(each.device == MPS for each in call.outputs)


@predicate
def second_thread(call: OperatorCall) -> bool:
    """Another thread than the first one asks MPS for something."""
    return call.thread > 0


@predicate
def bfloat16_linear_of_transposed_weight(call: OperatorCall) -> bool:
    """A linear layer in bfloat16 over three dimensions or more, its weight a transposed view."""
    source, weight = call.tensor("input"), call.tensor("weight")
    return (
        source is not None
        and weight is not None
        and weight.dtype == "bfloat16"
        and len(source.shape) > 2
        and len(weight.strides) == 2
        and weight.strides[0] == 1 < weight.strides[1]
    )


@predicate
def linear_of_three_dimensions_with_bias(call: OperatorCall) -> bool:
    """A linear layer with a bias over an input of three dimensions."""
    source = call.tensor("input")
    return source is not None and len(source.shape) == 3 and call.tensor("bias") is not None


@predicate
def half_linear_of_three_dimensions_without_bias(call: OperatorCall) -> bool:
    """A linear layer in 16 bits without a bias over an input of three dimensions or more."""
    source = call.tensor("input")
    return (
        source is not None
        and source.dtype in HALF_DTYPES
        and len(source.shape) > 2
        and call.tensor("bias") is None
    )


@predicate
def linear_with_bias_of_many_batches(call: OperatorCall) -> bool:
    """The same as `linear_of_three_dimensions_with_bias`, the first of them past 65536."""
    many = any(each.shape[:1] > (_SIXTEEN_BITS,) for each in call.outputs)
    return many and linear_of_three_dimensions_with_bias(call)


@predicate
def pads_frames_of_large_images(call: OperatorCall) -> bool:
    """Five dimensions, the third from the end padded alone, 65536 pixels or more behind it."""
    source, pad = call.tensor("self"), call.get("pad")
    if source is None or len(source.shape) != 5 or not isinstance(pad, tuple):
        return False
    is_alone = not any(pad[:4]) and any(pad[4:6])
    return is_alone and math.prod(source.shape[-2:]) >= _SIXTEEN_BITS


@predicate
def convolution_over_three_dimensions(call: OperatorCall) -> bool:
    """A convolution of an input with five dimensions."""
    source = call.tensor("input")
    return source is not None and len(source.shape) == 5


@predicate
def attention_of_other_value_size(call: OperatorCall) -> bool:
    """Attention whose values have another head size than its queries."""
    query, value = call.tensor("query"), call.tensor("value")
    return query is not None and value is not None and query.shape[-1] != value.shape[-1]


@predicate
def vector_attention_of_partial_mask(call: OperatorCall) -> bool:
    """The kernel for eight queries or fewer with a mask by image that all heads share."""
    mask, query = call.tensor("attn_mask"), call.tensor("query")
    return (
        takes_vector_kernel(call)
        and mask is not None
        and query is not None
        and len(mask.shape) == 4
        and mask.shape[0] > 1
        and mask.shape[1] == 1 < query.shape[1]
    )


@predicate
def attention_by_graph(call: OperatorCall) -> bool:
    """Attention that MPSGraph computes, as far as torch's own choice is known."""
    return call.tensor("query") is not None and not takes_vector_kernel(call)


@predicate
def attention_by_graph_without_prefill(call: OperatorCall) -> bool:
    """The same with the kernels that there are since 2.13."""
    is_fast = takes_vector_kernel(call, is_late=True) or takes_prefill_kernel(call)
    return call.tensor("query") is not None and not is_fast


@predicate
def long_attention(call: OperatorCall) -> bool:
    """Attention of 256 queries or more."""
    return any(each.shape[-2] >= _SHORTEST_MEASURED for each in call.inputs[:1])


@predicate
def long_attention_without_prefill(call: OperatorCall) -> bool:
    """The same, where none of the kernels since 2.13 can be taken."""
    return long_attention(call) and not takes_prefill_kernel(call)


@predicate
def attention_in_multihead_module(call: OperatorCall) -> bool:
    """Attention that ``torch.nn.MultiheadAttention`` calls."""
    return call.module_class == "MultiheadAttention"


@predicate
def product_of_middle_size(call: OperatorCall) -> bool:
    """A matrix product of 768 to 3072 rows."""
    left, _ = _factors(call)
    if left is None or len(left.shape) < 2:
        return False
    rows = left.shape[-2] if call.name != "linear" else math.prod(left.shape[:-1])
    return _FEWEST_SLOW_ROWS <= rows <= _MOST_SLOW_ROWS


@predicate
def cpu_scalar_with_offset(call: OperatorCall) -> bool:
    """A tensor of MPS meets one number of a tensor on the CPU, and not its first."""
    return any(each.device == MPS for each in call.inputs) and any(
        each.device != MPS and each.shape == () and each.storage_offset for each in call.inputs
    )


@predicate
def non_blocking_copy_to_device(call: OperatorCall) -> bool:
    """A copy from the CPU that does not wait."""
    source = call.tensor("src") if call.name == "copy_" else call.tensor("self")
    return (
        call.get("non_blocking") is True
        and source is not None
        and source.device != MPS
        and any(each.device == MPS for each in call.outputs)
    )


@predicate
def compiled_call(call: OperatorCall) -> bool:
    """A call within a network that is compiled."""
    return call.is_compiled


def _introduces(call: OperatorCall, dtypes: tuple[str, ...]) -> bool:
    return any(each.dtype in dtypes and each.device == MPS for each in call.outputs) and not any(
        each.dtype in dtypes and each.device == MPS for each in call.inputs
    )


def _is_expanded(tensor: SeenTensor) -> bool:
    return any(
        stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )


def _factors(call: OperatorCall) -> tuple[SeenTensor | None, SeenTensor | None]:
    if call.name == "linear":
        return call.tensor("input"), call.tensor("weight")
    if call.name in ("mm", "bmm"):
        return call.tensor("self"), call.tensor("mat2")
    return call.tensor("mat1", "batch1"), call.tensor("mat2", "batch2")
