"""The resources that a run takes from the machine: probes read them, a sampler summarises them."""
