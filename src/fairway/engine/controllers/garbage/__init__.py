"""Objects whose owners are gone: deleted in the background, in the foreground, or set free.

Reads: discovery, the metadata of every kind.   Writes: deletes, owner references, finalizers.
Loop:  keyed.     Flow: followed -> graph -> plan -> controller.
"""
