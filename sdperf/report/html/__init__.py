"""The report as one HTML file: it asks nobody for anything, and trusts no name in a run."""
