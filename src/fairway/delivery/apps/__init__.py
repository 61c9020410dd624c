"""The loop of Apps: from what the source has to runs, and from good runs to Releases."""
