"""Group normalisation that leaves images in the order in which convolutions want them.

OpenVINO's CPU plugin computes convolutions with a pixel's channels beside each other. Its own
`GroupNormalization` reshapes an image to groups of channels, which turns all of it round before
every norm and back before the next convolution: more than half of the time of a decoder at 128 x
128 pixels. Sums over pixels and products with a number for each channel work in any order.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from sdperf.engines.openvino.importing import operators as ops

_NAME: Final = "GroupNormalization"
_IMAGE_RANK: Final = 4


def spread_group_norms(model: Any) -> int:
    """Write out the group normalisations of images, in place.

    Means and variances are taken in two passes, as torch takes them.

    Args:
        model: An `openvino.Model`.

    Returns:
        How many were written out.
    """
    count = 0
    for node in model.get_ordered_ops():
        if node.get_type_name() == _NAME and _is_image(node):
            spread = _spread(node)
            spread.set_friendly_name(node.get_friendly_name())
            node.output(0).replace(spread.output(0))
            count += 1
    model.validate_nodes_and_infer_types()
    return count


def _is_image(node: Any) -> bool:
    shape = node.input_value(0).get_partial_shape()
    return (
        shape.rank.is_static and shape.rank.get_length() == _IMAGE_RANK and not shape[1].is_dynamic
    )


def _spread(node: Any) -> Any:
    image, weight, bias = (node.input_value(index) for index in range(3))
    settings = node.get_attributes()
    channels = image.get_partial_shape()[1].get_length()
    groups = settings["num_groups"]
    each_channel = _whole(1, channels, 1, 1)

    def average(values: Any) -> Any:
        """(B, C, H, W) to the mean of each group, (B, groups, 1)."""
        by_channel = ops.reduce_mean(values, _whole(2, 3), keep_dims=False)
        by_group = ops.reshape(by_channel, _whole(0, groups, channels // groups), True)
        return ops.reduce_mean(by_group, _whole(2), keep_dims=True)

    def give_to_channels(values: Any) -> Any:
        """(B, groups, 1) to the channels of each group, (B, C, 1, 1)."""
        repeated = ops.broadcast(
            values, _whole(1, groups, channels // groups), broadcast_spec="BIDIRECTIONAL"
        )
        return ops.reshape(repeated, _whole(0, channels, 1, 1), True)

    mean = give_to_channels(average(image))
    apart = ops.subtract(image, mean)
    variance = average(ops.multiply(apart, apart))
    spread = ops.sqrt(ops.add(variance, ops.constant(np.float32(settings["epsilon"]))))
    inverse = give_to_channels(ops.divide(ops.constant(np.float32(1.0)), spread))
    scale = ops.multiply(inverse, ops.reshape(weight, each_channel, False))
    shift = ops.subtract(ops.reshape(bias, each_channel, False), ops.multiply(mean, scale))
    return ops.add(ops.multiply(image, scale), shift)


def _whole(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))
