"""Tokenising ahead changes who tokenises, never what comes out."""

import contextlib
import threading
from collections import Counter

import numpy as np
import pytest
import torch

from evidence.mapped_pipelines import families
from sdperf.pipeline.families import stages_for
from sdperf.pipeline.tokenize_ahead import TokenizeAhead
from sdperf.record.workload import Workload
from tests.support import tiny_pipelines


class Watched:
    """Counts a tokenizer's calls by thread."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.calls = Counter()

    def __call__(self, *args, **keywords):
        self.calls[threading.get_ident()] += 1
        return self.tokenizer(*args, **keywords)

    def tokenize(self, *args, **keywords):
        self.calls[threading.get_ident()] += 1
        return self.tokenizer.tokenize(*args, **keywords)

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)


def watch(pipeline):
    watched = {}
    for name, tokenizer in pipeline.components.items():
        if name.startswith("tokenizer") and tokenizer is not None:
            watched[name] = Watched(tokenizer)
            object.__setattr__(pipeline, name, watched[name])
    return watched.values()


def on_another_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def encode(stages, prompts):
    return stages.encode_prompt(prompts).arguments


def assert_equal(left, right):
    assert left.keys() == right.keys()
    for name, values in left.items():
        other = right[name]
        assert (values is None and other is None) or torch.equal(values, other), name


@pytest.fixture(params=list(families.FAMILIES))
def pipeline(request, tiny_folder):
    return tiny_pipelines.take(tiny_folder(request.param))


def bind(pipeline):
    return stages_for(
        pipeline, Workload("tiny", ("x",), num_inference_steps=1, guidance_scale=5.0, height=32)
    )


@pytest.mark.parametrize("prompts", [["a blue car"], ["pizza", "a house"], ["same", "same"]])
def test_primed_prompts_are_not_tokenised_on_the_encoding_thread(pipeline, prompts):
    stages = bind(pipeline)
    expected = encode(stages, prompts)
    watched = watch(pipeline)
    here = threading.get_ident()
    learned = [f"learned {index}" for index in range(len(prompts))]
    with TokenizeAhead(pipeline) as ahead:
        with ahead.learning(learned):
            encode(stages, learned)
        for tokenizer in watched:
            tokenizer.calls.clear()
        on_another_thread(lambda: ahead.prime(prompts))
        assert_equal(encode(stages, prompts), expected)
    assert all(tokenizer.calls[here] == 0 for tokenizer in watched)
    assert all(sum(tokenizer.calls.values()) > 0 for tokenizer in watched)


def test_a_primed_result_is_handed_out_once(pipeline):
    stages = bind(pipeline)
    watched = watch(pipeline)
    with TokenizeAhead(pipeline) as ahead:
        with ahead.learning(["one"]):
            encode(stages, ["one"])
        ahead.prime(["two"])
        first = encode(stages, ["two"])
        for tokenizer in watched:
            tokenizer.calls.clear()
        assert_equal(encode(stages, ["two"]), first)
    assert all(sum(tokenizer.calls.values()) > 0 for tokenizer in watched)


def test_old_batches_make_room(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    stages = bind(pipeline)
    expected = encode(stages, ["number 0"])
    (watched,) = watch(pipeline)
    with TokenizeAhead(pipeline, batches=2) as ahead:
        with ahead.learning(["one"]):
            encode(stages, ["one"])
        for number in range(5):
            ahead.prime([f"number {number}"])
        watched.calls.clear()
        encode(stages, ["number 4"])
        assert not watched.calls
        assert_equal(encode(stages, ["number 0"]), expected)
        assert watched.calls


def test_priming_before_learning_does_nothing(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    (watched,) = watch(pipeline)
    with TokenizeAhead(pipeline) as ahead:
        ahead.prime(["a car"])
    assert not watched.calls


def test_the_pipeline_gets_its_tokenizers_back_and_its_config_is_untouched(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sdxl"))
    tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
    config = dict(pipeline.config)
    with contextlib.suppress(ZeroDivisionError), TokenizeAhead(pipeline):
        assert pipeline.tokenizer is not tokenizers[0]
        assert pipeline.tokenizer.model_max_length == tokenizers[0].model_max_length
        assert len(pipeline.tokenizer_2) == len(tokenizers[1])
        raise ZeroDivisionError
    assert (pipeline.tokenizer, pipeline.tokenizer_2) == tokenizers
    assert dict(pipeline.config) == config


def test_calls_of_another_form_pass_through(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("sd"))
    own = pipeline.tokenizer
    with TokenizeAhead(pipeline):
        assert pipeline.tokenizer("a", "b").input_ids == own("a", "b").input_ids
        assert pipeline.tokenizer(text="a").input_ids == own(text="a").input_ids
        assert pipeline.tokenizer([["a", "b"]], is_split_into_words=True).input_ids
        assert pipeline.tokenizer.batch_decode([[97]]) == own.batch_decode([[97]])


def test_priming_and_encoding_at_once_stay_correct(tiny_folder):
    pipeline = tiny_pipelines.take(tiny_folder("flux"))
    stages = bind(pipeline)
    prompts = [f"prompt {number}" for number in range(12)]
    expected = [encode(stages, [prompt]) for prompt in prompts]
    with TokenizeAhead(pipeline, batches=2) as ahead:
        with ahead.learning(["one"]):
            encode(stages, ["one"])
        primer = threading.Thread(target=lambda: [ahead.prime([prompt]) for prompt in prompts])
        primer.start()
        found = [encode(stages, [prompt]) for prompt in prompts]
        primer.join()
    for left, right in zip(found, expected, strict=True):
        assert_equal(left, right)


def test_a_whole_image_is_the_same_with_and_without(pipeline):
    stages = bind(pipeline)
    noise = stages.draw_noise([stages.workload.image(0)])
    expected = stages.run_whole(["a car"], noise)
    with TokenizeAhead(pipeline) as ahead:
        with ahead.learning(["one"]):
            encode(stages, ["one"])
        ahead.prime(["a car"])
        pixels = stages.decode_latents(stages.denoise(stages.encode_prompt(["a car"]), noise))
    assert np.array_equal(pixels, expected)
