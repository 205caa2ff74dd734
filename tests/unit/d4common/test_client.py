"""The outbox: what waits to be sent, and how much of it."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from d4common.client import Outbox, _or_closed, explain


def lines(outbox: Outbox) -> bytes:
    """All that waits, which is thereby taken."""
    taken = b"".join(outbox.take(10**9))
    outbox.sent()
    return taken


def test_lines_leave_in_order_and_as_many_as_fit() -> None:
    outbox = Outbox(1000)
    for line in (b"1\n", b"22\n", b"333\n", b"long line\n"):
        outbox.put(line)
    for wanted in ([b"1\n", b"22\n"], [b"333\n"], [b"long line\n"], []):
        assert outbox.take(6) == wanted
        outbox.sent()


def test_full_outbox_drops_the_oldest_and_counts_them() -> None:
    outbox = Outbox(10)
    for line in (b"1234\n", b"5678\n", b"9\n", b"a\n"):
        outbox.put(line)
    assert (len(outbox), outbox.dropped) == (3, 1)
    outbox.put(b"longer than the outbox\n")
    assert (len(outbox), outbox.dropped) == (1, 4)
    assert lines(outbox) == b"longer than the outbox\n"


def test_what_was_put_back_is_next_and_counts_again() -> None:
    outbox = Outbox(10)
    outbox.put(b"1234\n")
    outbox.put(b"5678\n")
    outbox.take(10)
    outbox.put(b"9abcd\n")
    outbox.put_back()
    assert len(outbox) == 3
    outbox.put(b"e\n")
    assert (outbox.dropped, lines(outbox)) == (2, b"9abcd\ne\n")


def test_outbox_tells_when_it_is_filled_and_when_all_was_sent() -> None:
    async def test() -> None:
        outbox = Outbox(100)

        def states() -> list[bool]:
            return [waiting.done() for waiting in (filled, empty)]

        filled, empty = asyncio.create_task(outbox.filled()), asyncio.create_task(outbox.empty())
        await asyncio.wait([empty])
        assert states() == [False, True]
        outbox.put(b"1\n")
        await asyncio.wait([filled])
        empty = asyncio.create_task(outbox.empty())
        outbox.take(10)
        await asyncio.sleep(0)
        assert not empty.done()
        outbox.put_back()
        outbox.take(10)
        outbox.sent()
        await asyncio.wait([empty])

    asyncio.run(asyncio.wait_for(test(), 10))


def test_write_is_no_success_when_the_peer_has_closed() -> None:
    async def test() -> None:
        closed = asyncio.create_task(asyncio.sleep(0))
        await closed
        with pytest.raises(ConnectionResetError, match="the server closed it"):
            await _or_closed(asyncio.sleep(0), closed)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (TimeoutError(), "no answer in 15 s"),
        (OSError("Multiple exceptions: x"), "Multiple exceptions: x"),
        (ConnectionResetError(), "ConnectionResetError"),
        (ssl.SSLError(1, "[SSL: WRONG] wrong version number"), "[SSL: WRONG] wrong"),
    ],
)
def test_failure_is_explained_in_words(error: OSError, words: str) -> None:
    assert explain(error).startswith(words)
