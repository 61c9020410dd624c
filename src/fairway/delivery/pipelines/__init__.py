"""Runs of pipelines: a commit on its way to an image, as Kubernetes Jobs in isolated pods."""
