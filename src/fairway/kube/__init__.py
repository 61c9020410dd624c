"""Shared ground: the nouns, a client, the loops."""
