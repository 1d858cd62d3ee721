"""How many images a second does a batch of prompts give?"""


def test_throughput(sd_benchmark):
    """A batch of prompts divided among the workers."""
    sd_benchmark.throughput()
