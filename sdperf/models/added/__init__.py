"""What stands in for parts of a model, or is added to it: a single file of weights, a LoRA."""
