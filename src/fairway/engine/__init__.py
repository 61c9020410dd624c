"""Everything a real Kubernetes replaces: delete this folder and Fairway still runs on any cluster."""
