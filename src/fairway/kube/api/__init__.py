"""The nouns of Kubernetes: only the fields that are read, frozen."""
