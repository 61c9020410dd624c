"""HTTP in, objects stored, watches out."""
