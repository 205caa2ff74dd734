"""Work that is done together until one part of it ends."""

from __future__ import annotations

import asyncio
import gc
import ssl

import pytest
from delivering import SENDER
from hypothesis import given
from hypothesis import strategies as st

from d4common.client import Client
from d4common.delivery import RECORD, first, parts
from d4common.outbox import MemoryOutbox
from d4common.packet import HEADER_SIZE, MAX_PAYLOAD


@given(
    st.integers(HEADER_SIZE, HEADER_SIZE + MAX_PAYLOAD)
    | st.builds(lambda records, more: records * RECORD + more, st.integers(1, 60), st.integers(-70, 70))
)
def test_no_record_of_tls_is_so_short_that_a_d4_core_lets_it_lie(size: int) -> None:
    written = list(parts(bytes(size)))
    assert sum(map(len, written)) == size
    records = [min(RECORD, len(part) - start) for part in written for start in range(0, len(part), RECORD)]
    assert min(records) >= HEADER_SIZE
    assert len(written) == 1 or size > RECORD


def test_the_first_that_ends_ends_the_others() -> None:
    async def test() -> None:
        ended = list[str]()

        async def work(name: str, seconds: float) -> None:
            try:
                await asyncio.sleep(seconds)
            finally:
                ended.append(name)

        await first(work("long", 60), work("short", 0), work("long", 60))
        assert ended == ["short", "long", "long"]

    asyncio.run(test())


def test_what_one_raises_is_raised() -> None:
    async def fail() -> None:
        raise ConnectionResetError("closed")

    async def test() -> None:
        with pytest.raises(ConnectionResetError, match="closed"):
            await first(asyncio.sleep(60), fail())
        with pytest.raises(ConnectionResetError, match="closed"):
            await first(fail(), fail())
        with pytest.raises(ConnectionResetError, match="closed"):
            await first(asyncio.sleep(0), fail(), asyncio.sleep(0))

    asyncio.run(test())


def test_what_fails_when_it_is_cancelled_is_not_told_by_the_event_loop() -> None:
    """Its traceback would be in the log of a daemon that was only stopped."""

    async def test() -> None:
        told = list[dict[str, object]]()
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))

        async def fail(ending: asyncio.Event) -> None:
            await ending.wait()
            raise ConnectionResetError("closed")

        ending = asyncio.Event()
        client = Client(SENDER, MemoryOutbox(10, 10), [], ssl.create_default_context, lambda state: None)
        for work in (first(fail(ending), asyncio.sleep(60)), client._unless_stopped(fail(ending))):
            ending.clear()
            task = asyncio.create_task(work)
            await asyncio.sleep(0.01)
            ending.set()
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            del task
        gc.collect()
        assert told == []

    asyncio.run(test())
