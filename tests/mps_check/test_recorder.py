"""Stand-ins for MPS tensors, and what is recorded of them."""

import threading

import pytest
import torch

from sdperf.errors import GenerationError
from sdperf.mps_check.dispatch import load_dispatch_table
from sdperf.mps_check.recorder import Recorder, move_to_stand_ins, name_modules, shorten_path
from sdperf.mps_check.standin import MOST_VALUES, Computer, StandIn

LARGE = MOST_VALUES + 1


@pytest.fixture
def recorder():
    return Recorder(load_dispatch_table("2.14", "0"), {})


def operators(recorder):
    return [call.operator for call in recorder.calls]


def test_python_takes_a_stand_in_for_an_mps_tensor(recorder):
    with recorder.listening():
        moved = torch.ones(2, 3).to("mps")
        assert (moved.device, moved.is_mps, moved.is_meta) == (torch.device("mps", 0), True, False)
        assert torch.zeros_like(moved).device.type == "mps"
        assert torch.empty(2, device=moved.device).device.type == "mps"
        assert torch.backends.mps.is_available()
        assert moved.to("mps") is moved
        assert moved.cpu().device.type == "cpu"
        assert type(moved.cpu()) is torch.Tensor
    assert StandIn.handler is None


def test_small_tensors_have_values_and_large_ones_a_shape(recorder):
    with recorder.listening():
        small = torch.arange(4, device="mps") * 2
        assert small.tolist() == [0, 2, 4, 6]
        assert torch.tensor([1.5, 2.5], device="mps")[1].item() == 2.5
        assert small.new_tensor([7]).item() == 7
        large = torch.ones(LARGE, device="mps")
        assert (large + small[0]).shape == (LARGE,)
        assert large.cpu().sum() == 0
        with pytest.raises(GenerationError, match="--values"):
            large.sum().item()


def test_all_have_values_where_asked_for():
    recorder = Recorder(load_dispatch_table("2.14", "0"), {}, keeps_values=True)
    with recorder.listening():
        assert torch.ones(LARGE, device="mps").sum().item() == LARGE


def test_a_large_result_of_small_tensors_is_not_computed(recorder):
    with recorder.listening():
        column = torch.ones(40_000, 1, device="mps")
        assert (column * column.T).behind.is_meta


@pytest.mark.parametrize(
    ("left", "right", "has_values"),
    [
        ((64, 64), (64, 64), True),  # computed
        ((512, 1), (1, 512), False),  # computed, found large, and then only asked for its shape
        ((MOST_VALUES // 2, 1), (1, 4096), False),  # asked for its size
        ((MOST_VALUES // 2, 1), (MOST_VALUES // 2, 1), True),  # asked, found small, and computed
    ],
)
def test_only_small_results_of_small_tensors_have_values(recorder, left, right, has_values):
    with recorder.listening():
        result = torch.ones(left, device="mps") * torch.ones(right, device="mps")
    assert result.behind.is_meta != has_values
    assert result.shape == torch.broadcast_shapes(left, right)
    assert operators(recorder).count("aten::mul.Tensor") == 1


def test_an_index_out_of_range_among_large_results_has_a_shape(recorder):
    with recorder.listening():
        table = torch.ones(2, 300, device="mps")
        chosen = torch.arange(300, device="mps")
        assert torch.index_select(table, 0, chosen).shape == (300, 300)


def test_what_draws_numbers_draws_them_once(recorder):
    torch.manual_seed(7)
    torch.normal(torch.zeros(64, 64), torch.ones(64, 64))
    then = torch.rand(3)
    torch.manual_seed(7)
    with recorder.listening():
        means = torch.zeros(700, 1, device="mps")
        large = torch.normal(means, torch.ones(1, 700, device="mps"))
        assert large.behind.is_meta
        torch.normal(torch.zeros(64, 64, device="mps"), torch.ones(64, 64, device="mps"))
    assert torch.equal(torch.rand(3), then)


def test_writing_in_place_keeps_the_tensor_and_ends_its_being_uninitialised(recorder):
    with recorder.listening():
        fresh = torch.empty(2, 2, device="mps")
        assert fresh.is_uninitialised
        assert fresh.fill_(3.0) is fresh
        assert not fresh.is_uninitialised
        assert fresh.tolist() == [[3.0, 3.0], [3.0, 3.0]]
        viewed = torch.empty(4, device="mps")
        assert viewed.view(2, 2).is_uninitialised
        assert not viewed.is_uninitialised


def test_host_tensors_are_left_alone_and_filled_from_the_device(recorder):
    with recorder.listening():
        host = torch.zeros(2)
        assert not recorder.calls
        host.copy_(torch.ones(2, device="mps"))
        assert host.tolist() == [1.0, 1.0]
        target = torch.ones(LARGE)
        target.copy_(torch.ones(LARGE, device="mps"))
        assert target.sum() == 0


def test_composites_are_taken_apart_as_the_version_would(recorder):
    with recorder.listening():
        states = torch.ones(1, 4, 16, 64, dtype=torch.float16).to("mps")
        recorder.calls.clear()
        torch.nn.functional.linear(states, states[0, 0])
        torch.nn.functional.softmax(states, dim=-1)
        attended = torch.nn.functional.scaled_dot_product_attention(states, states, states)
        torch.nn.functional.embedding(torch.zeros(2, dtype=torch.long).to("mps"), states[0, 0])
    assert attended.is_contiguous()
    seen = operators(recorder)
    for name in (
        "linear",
        "_softmax",
        "_scaled_dot_product_attention_math_for_mps",
        "index_select",
    ):
        assert f"aten::{name}" in seen
    assert "aten::scaled_dot_product_attention" not in seen
    assert "aten::addmm" not in seen


def test_a_call_holds_formats_layouts_arguments_and_where_it_came_from():
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, padding=1))
    names = name_modules({"unet": network, "scheduler": object()})
    recorder = Recorder(load_dispatch_table("2.14", "0"), names)
    move_to_stand_ins(network, recorder.computer)
    recorder.stage = "denoise"
    with recorder.listening():
        image = torch.ones(2, 4, 8, 8).to("mps").to(memory_format=torch.channels_last)
        for _ in range(2):
            network(image)
    ((call, times),) = [
        (call, times) for call, times in recorder.calls.items() if call.name == "convolution"
    ]
    assert times == 2
    assert (call.module, call.stage, call.thread) == ("unet.0", "denoise", 0)
    assert call.line.startswith("tests/mps_check/test_recorder.py:")
    assert call.tensor("input").is_channels_last
    assert call.tensor("weight").shape == (8, 4, 3, 3)
    assert call.get("padding") == (1, 1)
    assert call.get("transposed") is False
    assert call.outputs[0].shape == (2, 8, 8, 8)
    assert call.tensor("input").storage_bytes == 2 * 4 * 8 * 8 * 4


def test_another_thread_is_recorded_as_one(recorder):
    with recorder.listening():
        states = torch.ones(2).to("mps")
        thread = threading.Thread(target=lambda: states * 2)
        thread.start()
        thread.join()
    assert {call.name: call.thread for call in recorder.calls}["mul"] == 1


def test_networks_change_format_and_stay_stand_ins(recorder):
    network = torch.nn.Linear(2, 2)
    move_to_stand_ins(network, recorder.computer)
    with recorder.listening():
        network.to(torch.float16)
        assert isinstance(network.weight, StandIn)
        assert network.weight.dtype == torch.float16


def test_a_mask_with_values_selects_a_known_number_of_what_has_none(recorder):
    with recorder.listening():
        states = torch.empty(MOST_VALUES, 3, device="mps")
        mask = torch.arange(MOST_VALUES, device="mps") < 5
        assert states[mask].shape == (5, 3)
        assert states[None][:, mask].shape == (1, 5, 3)


def test_a_shape_that_torch_has_no_rule_for_is_found_on_zeros():
    computer = Computer()
    without_values = StandIn(torch.ones(3, 4, 4, device="meta"))
    found = computer.compute(torch.ops.aten.linalg_eig.default, (without_values,), {})
    assert [tuple(each.shape) for each in found] == [(3, 4), (3, 4, 4)]


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("/x/lib/python3.11/site-packages/diffusers/models/unet.py", "diffusers/models/unet.py"),
        ("/elsewhere/mine.py", "/elsewhere/mine.py"),
    ],
)
def test_paths_are_cut_at_the_package(path, short):
    assert shorten_path(path) == short
