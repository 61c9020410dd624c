"""Containers are started, end, and are told about, for real."""

import asyncio
import os
import signal

import pytest

pytestmark = pytest.mark.real


def test_exit_codes(node):
    async def body(node):
        state, _ = await node.run("c", "sh", "-c", "exit 42")
        print(state)
        assert (state.status, state.exit_code, state.reason, state.signal) == ("exited", 42, "Error", None)
        assert state.started_at < state.finished_at
        state, log = await node.run("d", "echo", "hello")
        assert (state.exit_code, state.reason, log) == (0, "Completed", "hello\n")

    node(body)
