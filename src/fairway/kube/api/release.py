"""The Kubernetes release whose behaviour Fairway has: the API server and the node say the same."""

KUBERNETES = "v1.33.0"
