"""Weights in 8 bits: what is stored, what is computed, and that names are worth nothing."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sdperf.engines.onnx.quantising import (
    quantise_channels,
    quantise_part,
    shorten_names,
    store_weights_in_int8,
)
from sdperf.errors import EngineError

GENERATOR = np.random.default_rng(0)
TABLE = GENERATOR.normal(size=(50, 32)).astype(np.float32)
KERNEL = GENERATOR.normal(size=(32, 48)).astype(np.float32)
BIAS = GENERATOR.normal(size=48).astype(np.float32)
MASK = np.array([[0.0] * 48, [-3.4e38] * 48], dtype=np.float32)


def make_model():
    """Look ids up in a table, multiply, add a bias and a mask of enormous numbers."""
    nodes = [
        helper.make_node("Gather", ["a_table", "ids"], ["a_row"], name="looking_up"),
        helper.make_node("MatMul", ["a_row", "a_kernel"], ["a_product"], name="multiplying"),
        helper.make_node("Add", ["a_product", "a_bias"], ["a_sum"]),
        helper.make_node("Add", ["a_sum", "a_mask"], ["image"]),
    ]
    arrays = {"a_table": TABLE, "a_kernel": KERNEL, "a_bias": BIAS, "a_mask": MASK}
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [2, 48])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        value_info=[helper.make_tensor_value_info("a_sum", TensorProto.FLOAT, [2, 48])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(model):
    data = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["image"], {"ids": np.array([7, 49])})[0]


def exact(row):
    return TABLE[[7, 49]][row] @ KERNEL + BIAS


@pytest.mark.parametrize("axis", [0, 1])
def test_a_channel_is_rounded_to_half_a_step(axis):
    kernel = KERNEL.copy()
    kernel[0] = 0
    places, scales = quantise_channels(kernel, axis)
    assert places.dtype == np.int8
    assert scales.shape == (kernel.shape[axis],)
    steps = np.expand_dims(scales, 1 - axis)
    assert (np.abs(places * steps - kernel) <= 0.5001 * steps).all()
    assert np.abs(places).max() == 127


def test_weights_lie_in_8_bits_and_nothing_else_does():
    model = make_model()
    store_weights_in_int8(model)
    kinds = {one.name: one.data_type for one in model.graph.initializer}
    assert kinds["a_table_int8"] == kinds["a_kernel_int8"] == TensorProto.INT8
    assert kinds["a_bias"] == kinds["a_mask"] == TensorProto.FLOAT
    assert "a_kernel" not in kinds
    found = run(model)
    np.testing.assert_allclose(found[0], exact(0), atol=0.3)  # of values up to 20
    assert not np.allclose(found[0], exact(0), atol=1e-4)
    assert np.isfinite(found).all()


def test_channels_too_short_for_a_scale_stay_as_they_are():
    model = make_model()
    short = GENERATOR.normal(size=(15, 48)).astype(np.float32)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(short, "a_kernel"))
    store_weights_in_int8(model)
    assert "a_kernel" in {one.name for one in model.graph.initializer}


def test_short_names_change_nothing_but_the_size():
    model = make_model()
    before = model.ByteSize()
    expected = run(model)
    shorten_names(model)
    assert model.ByteSize() < before
    assert b"a_kernel" not in model.SerializeToString()
    assert [one.name for one in model.graph.input] == ["ids"]
    np.testing.assert_array_equal(run(model), expected)


def test_names_that_an_inner_graph_may_see_are_kept():
    model = make_model()
    inner = helper.make_graph([], "inner", [], [])
    model.graph.node.append(helper.make_node("If", ["ids"], ["never"], then_branch=inner))
    before = model.SerializeToString()
    shorten_names(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("products", [False, True])
def test_a_quantised_file_runs_from_its_folder(tmp_path, products):
    source, target = tmp_path / "model.onnx", tmp_path / "int8" / "model.onnx"
    target.parent.mkdir()
    model = make_model()
    onnx.save_model(model, source)
    quantise_part(source, target, products=products)
    assert {one.name for one in target.parent.iterdir()} == {"model.onnx", "model.onnx.data"}
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert ("MatMulInteger" in kinds) is products
    found = run(str(target))
    np.testing.assert_allclose(found[0], exact(0), atol=0.6)


def test_what_is_no_model_is_one_message(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(EngineError, match="cannot quantise") as caught:
        quantise_part(tmp_path / "model.onnx", tmp_path / "int8.onnx", products=False)
    assert len(str(caught.value).splitlines()) == 1
