"""The report as one HTML file: it loads nothing from elsewhere, and trusts no name in a run."""
