"""Programs of the project's own: training, evidence, simulations. Not part of the package."""
