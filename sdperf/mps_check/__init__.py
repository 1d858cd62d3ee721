"""Records and judges, without a Mac, the operators that a generation needs from torch's MPS."""
