"""What a generation would ask of torch's MPS backend, recorded and judged without a Mac."""
