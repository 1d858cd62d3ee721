"""What passed between the components, beside a reference or an earlier session."""
