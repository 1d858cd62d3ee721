"""Seconds that no honest change can bring: answered from memory, and called so."""

import pytest

SUBJECTS = """
def honest(request):
    return request.load()

def memoised_pictures(request):
    pipeline = request.load()
    known = {}
    class Remembering(type(pipeline)):
        def __call__(self, prompt=None, *, latents=None, **named):
            key = (str(prompt), None if latents is None else latents.numpy().tobytes())
            if key not in known:
                known[key] = super().__call__(prompt, latents=latents, **named)
            return known[key]
    pipeline.__class__ = Remembering
    return pipeline

def memoised_denoiser(request):
    pipeline = request.load()
    forward, known = pipeline.unet.forward, {}
    def remembering(sample, timestep, *arguments, **named):
        key = (sample.numpy().tobytes(), float(timestep))
        if key not in known:
            known[key] = forward(sample, timestep, *arguments, **named)
        return known[key]
    pipeline.unet.forward = remembering
    return pipeline

def one_picture_for_all(request):
    pipeline = request.load()
    known = []
    class Stuck(type(pipeline)):
        def __call__(self, *arguments, **named):
            if not known:
                known.append(super().__call__(*arguments, **named))
            return known[0]
    pipeline.__class__ = Stuck
    return pipeline
"""


@pytest.fixture
def run(bench, script, pytester):
    script.unet_call_s = 0.1
    pytester.makepyfile(subjects=SUBJECTS)

    def run(subject, *arguments):
        return bench("-k", "latency", *arguments, subject=f"subjects:{subject}")

    return run


def test_an_honest_pipeline_takes_as_long_for_what_it_never_saw(run):
    result = run("honest")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("*BROKEN*")


@pytest.mark.parametrize("subject", ["memoised_pictures", "memoised_denoiser"])
def test_rounds_from_memory_are_broken(run, subject):
    result = run(subject)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["BROKEN  latency*rounds are answered from memory: *"])


def test_a_picture_that_existed_before_its_round_is_broken(run):
    result = run("one_picture_for_all")
    assert result.ret == 1
    said = " ".join(result.stdout.str().split())
    assert "gave the bytes of a picture that existed before the round" in said
