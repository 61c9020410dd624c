"""Containers and pod sandboxes as processes and namespaces of this machine.

Reads: ContainerSpec.   Writes: ContainerState, SandboxState, logs.
Parts: `client.Runtime` (engine side, asyncio) -> `zygote` (small process) -> `shim` (one per container).

This file imports nothing: the zygote must stay small, and importing any module of this package runs this file first.
"""
