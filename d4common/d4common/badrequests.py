"""What comes in by the web socket and is not HTTP: a line in the log, now and then, and no traceback."""

from __future__ import annotations

import logging

from aiohttp.http_exceptions import HttpProcessingError

from d4common.journal import Repeats


class OneLine(logging.Filter):
    """Shortens what aiohttp and the event loop log of a client's doing; a fault of ours stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self._complaints = Repeats()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log ``record``, which this may change."""
        error = record.exc_info[1] if record.exc_info else None
        # Of a request line that it cannot take apart, aiohttp lets the error go through to the event loop.
        unparsed = record.name == "asyncio" and record.msg.startswith("Fatal error on transport")
        if not unparsed and not isinstance(error, HttpProcessingError | ConnectionError):
            return True
        if self._complaints.held_back("bad request") is None:
            return False
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = "a request could not be understood: %.200s", (error,)
        record.exc_info = None
        return True


def keep_short() -> None:
    """Puts the filter where such things are logged."""
    one_line = OneLine()
    for name in ("aiohttp.server", "asyncio"):
        logging.getLogger(name).addFilter(one_line)
