"""The commands about apps: what they write is what `kubectl apply` of the same objects would."""
