"""Jobs to pods that run until enough of them have succeeded.

Reads: Job, Pod.   Writes: Pod, Job status, Events; deletes jobs whose time after the end is over.
Loop:  keyed.     Flow: snapshot (counting, indexes, failures) -> plan (ending, pods, status) -> controller.
"""
