"""The fault table: numbered events, from a file through all daemons into the stream, whatever happens.

Each must be there once, and in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from faults.rows import FAULTS
from faults.table import PROPERTY, Row

# redis-py 4.3 leaves the socket open where a Redis is not there that it wants to connect to.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")

AT_ONCE = 4
"""Rows that are made at a time: what they do most is wait."""


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Row]]]:
    """Those that this run of the tests wants, by their names."""
    wanted = [name for name in FAULTS if any(f"[{name}]" in item.name for item in request.session.items)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(FAULTS[name].run) for name in wanted if not FAULTS[name].lacks}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_nothing_doubled(
    fault: str, rows: dict[str, Future[Row]], record_property: Callable[[str, object], None]
) -> None:
    if FAULTS[fault].lacks:
        pytest.skip(FAULTS[fault].lacks)
    row = rows[fault].result()
    record_property(PROPERTY, (fault, row._asdict()))
    assert row.faultless, row
