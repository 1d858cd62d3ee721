"""Calls made up for tests: shapes and layouts in a word each."""

import math

from sdperf.mps_check.calls import OperatorCall, SeenTensor

ATTENTION = "aten::_scaled_dot_product_attention_math_for_mps"


def packed(*shape, dtype="float32", order=None, **fields):
    """A tensor without gaps, its dimensions in memory order, outermost first."""
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order or range(len(shape))):
        strides[axis] = step
        step *= shape[axis]
    return SeenTensor(dtype, shape, tuple(strides), storage_bytes=4 * math.prod(shape), **fields)


def strided(tensor, *strides):
    """The same shape with other strides."""
    return SeenTensor(tensor.dtype, tensor.shape, strides)


def channels_last(*shape, **fields):
    return packed(*shape, order=(0, 2, 3, 1), **fields)


def call(
    operator,
    /,
    *outputs,
    stage="denoise",
    module="unet.x",
    line="m.py:1",
    thread=0,
    module_class="",
    is_compiled=False,
    **named,
):
    name = operator if "::" in operator else f"aten::{operator}"
    where = (stage, module, line, thread, module_class, is_compiled)
    return OperatorCall(name, tuple(named.items()), outputs, *where)


def attention(query, key=None, value=None, **named):
    key = query if key is None else key
    value = key if value is None else value
    return call(ATTENTION, query, query=query, key=key, value=value, **named)
