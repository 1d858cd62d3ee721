"""What each named Core ML setting makes of a model: bytes, operators, seconds of converting."""
