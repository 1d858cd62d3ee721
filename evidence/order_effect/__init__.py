"""Does a case's figure depend on the cases around it? Measures the suite in several orders."""
