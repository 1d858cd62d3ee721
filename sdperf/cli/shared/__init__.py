"""The parts that several commands share: measuring, output and figures."""
