"""How long does one image take, prompt in to PNG out?"""


def test_latency(sd_benchmark):
    """One image per worker, all workers at once: more workers show what company costs an image."""
    sd_benchmark.latency()
