"""The loops: reflector, cache, workqueue, keyed and whole."""
