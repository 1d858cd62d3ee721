"""The results of a paired comparison, judged and put into words. Pure."""
