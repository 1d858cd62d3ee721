"""Resources: what a run takes from the machine, read by probes and summarised by a sampler."""
