"""A D4 client on asyncio: delivers what waits in an outbox to the first server that takes it."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from d4common.acknowledged import AheadOfSpool, BadAnswer
from d4common.config import Endpoint, Proxy
from d4common.connection import Connection, explain, open_connection
from d4common.delivery import AcknowledgedDelivery, PlainDelivery, SpoolMoved, first
from d4common.outbox import Outbox
from d4common.sender import Sender
from d4common.service import cancel
from d4common.session import ALPN_ACK
from d4common.tls import TLSError

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
"""Seconds between rounds of attempts to connect: doubled each time, up to the longest."""

DRAIN_TIME = 5.0
"""Seconds that a stop takes at most, for what is still to be delivered and for closing."""


class Client:
    """Sends what is in ``outbox`` to one of ``destinations``, connecting again for as long as it takes.

    They are tried in their order, one at once after the other; after all of them there is a pause. A
    connection that has lasted, or whose server has stored something, was a good one: when it breaks, the
    round begins anew, and pauses are short again.
    """

    def __init__(
        self,
        sender: Sender,
        outbox: Outbox,
        destinations: Sequence[Endpoint],
        context: Callable[[], ssl.SSLContext],
        changed: Callable[[str], None],
        proxy: Proxy | None = None,
    ) -> None:
        """``context`` is asked for at each attempt, so a CA may come later or be replaced (TLSError);
        ``changed`` hears in words what became of the connection.
        """
        self._sender = sender
        self._outbox = outbox
        self._destinations = destinations
        self._context = context
        self._changed = changed
        self._proxy = proxy
        self.connected = False
        """Whether there is a connection whose server, as far as can be known, has taken this sensor in."""
        self._sent = 0
        """The last number that a server can have."""
        self._fruitful = False
        """Whether the destination that is being tried has stored anything, as far as is known."""
        self._stopping = asyncio.Event()
        self._end = 0.0
        """When the stop must be over, in the time of the event loop."""
        self._delivered = asyncio.Event()

    async def run(self) -> None:
        """Connects and sends until stop() has been called. The outbox is open; its errors are raised."""
        self._sent = self._outbox.known
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            good = await self._try_each()
            pause = FIRST_PAUSE if good else pause
            await self._unless_stopped(asyncio.sleep(pause * random.uniform(0.5, 1)))
            pause = min(2 * pause, LONGEST_PAUSE)

    def stop(self) -> None:
        """Asks run() to return: at once, or in DRAIN_TIME seconds if more can be delivered until then."""
        self._end = asyncio.get_running_loop().time() + DRAIN_TIME
        self._stopping.set()

    async def _try_each(self) -> bool:
        """One round; whether it ended with a connection that was a good one."""
        loop = asyncio.get_running_loop()
        for destination in self._destinations:
            began = loop.time()
            self._fruitful = False
            while await self._deliver_to(destination) and not self._stopping.is_set():
                pass
            good = self._fruitful or loop.time() - began > LONGEST_PAUSE
            if good or self._stopping.is_set():
                return good
        return False

    async def _deliver_to(self, destination: Endpoint) -> bool:
        """Connects and delivers until the connection ends; whether it is to be opened again at once."""
        try:
            connection = await self._unless_stopped(self._connect(destination))
        except (OSError, TLSError) as error:
            self._changed(f"{destination} cannot be reached: {explain(error)}")
            return False
        if connection is None:
            return False
        delivery = self._delivery(connection, destination)
        try:
            await first(delivery.run(), self._drained())
            await connection.close(self._end - asyncio.get_running_loop().time())
        except SpoolMoved:
            return True
        except AheadOfSpool as error:
            self._lose(destination, f"{error}; {self._outbox.advice}")
        except (OSError, BadAnswer) as error:
            self._lose(destination, explain(error))
        finally:
            self.connected = False
            self._sent = max(self._sent, delivery.sent)
            self._fruitful |= delivery.fruitful
            connection.abort()
        return False

    def _lose(self, destination: Endpoint, why: str) -> None:
        self.connected = False
        self._changed(f"connection to {destination} lost: {why}")

    async def _connect(self, destination: Endpoint) -> Connection:
        context = self._context()
        context.set_alpn_protocols([ALPN_ACK])
        return await open_connection(destination, context, self._proxy)

    def _delivery(
        self, connection: Connection, destination: Endpoint
    ) -> AcknowledgedDelivery | PlainDelivery:
        """The delivery that this server has agreed to."""
        acknowledges = connection.alpn == ALPN_ACK
        state = f"connected to {destination}"
        if not acknowledges:
            state += ", by plain D4: it acknowledges nothing"

        def taken_in() -> None:
            if not self.connected:
                self.connected = True
                self._changed(state)

        sender, outbox = self._sender, self._outbox
        if acknowledges:
            return AcknowledgedDelivery(connection, sender, outbox, self._sent, taken_in, self._acknowledge)
        return PlainDelivery(connection, sender, outbox, taken_in, self._acknowledge)

    async def _acknowledge(self, number: int) -> None:
        await self._outbox.acknowledge(number)
        self._delivered.set()

    async def _drained(self) -> None:
        """Returns after stop(), when all is delivered or the time for it is over."""
        await self._stopping.wait()
        await first(self._all_delivered(), asyncio.sleep(DRAIN_TIME))

    async def _all_delivered(self) -> None:
        while self._outbox.first < self._outbox.next:
            self._delivered.clear()
            await self._delivered.wait()

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What ``work`` gives, or None where stop() came before."""
        task = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((task, stopped), return_when="FIRST_COMPLETED")
        finally:
            await cancel(task, stopped)
            if not task.cancelled():
                task.exception()  # or it would be told as never retrieved where this was cancelled meanwhile
        return None if task.cancelled() else task.result()
