"""Waiting for what another process, thread or task is about to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE = 0.01
"""Seconds between two looks."""

TIMEOUT = 30.0
"""Seconds until a test fails: a machine that is busy with something else has that much patience."""


def wait_for(condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
    """Returns when ``condition`` holds; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {condition}")
        time.sleep(PAUSE)


async def until(condition: Callable[[], object], timeout: float = TIMEOUT) -> None:
    """wait_for() for a coroutine, whose event loop goes on turning."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {condition}")
        await asyncio.sleep(PAUSE)
