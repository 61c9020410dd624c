"""A machine that runs short: pods that use more than they asked for go first, and images that nobody uses.

Source: documentation "Node-pressure Eviction" and "Garbage Collection".
"""
