"""What several commands share: measuring, output and figures."""
