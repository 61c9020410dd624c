"""What the standard library lacks; knows no Kubernetes word."""
