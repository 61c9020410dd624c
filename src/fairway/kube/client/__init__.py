"""Talk to a Kubernetes API."""
