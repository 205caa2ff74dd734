"""How alerts reach people: in the journal, by a webhook, by mail.

The journal has each at once. For the webhook and for mail they wait in Redis, in the lists
``d4:{sensors}:alerts:webhook`` and ``:mail``, until they were taken: what is refused or does not answer is
tried again after the next look. At most MOST_WAITING wait, then the oldest are left out.
"""

from __future__ import annotations

import http.client
import json
import logging
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from d4common import journal
from d4server.config import Monitoring
from d4server.monitoring import Alert

log = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Alerts that wait for a way out."""

TIMEOUT = 15
"""Seconds that a webhook, or sendmail, may take."""

SENDMAIL = "/usr/sbin/sendmail"


class Undelivered(Exception):
    """Nobody has taken an alert; the message says why."""


def write(alert: Alert) -> None:
    """Puts an alert into the journal."""
    level = logging.WARNING if alert.state == "silent" else logging.INFO
    fields = {
        "MESSAGE_ID": journal.SENSOR_SILENT,
        "D4_SENSOR": str(alert.sensor),
        "D4_REASON": alert.state,
    }
    log.log(level, "%s", alert, extra=fields)


async def hand_over(redis: Redis, alerts: Sequence[Alert], settings: Monitoring) -> None:
    """Has alerts wait for each way that is configured."""
    ways = [way for way, wanted in (("webhook", settings.webhook), ("mail", settings.mail_to)) if wanted]
    if not alerts or not ways:
        return
    documents = [json.dumps(_document(alert)) for alert in alerts]
    async with redis.pipeline() as pipe:
        for way in ways:
            pipe.rpush(_waiting(way), *documents)
            pipe.ltrim(_waiting(way), -MOST_WAITING, -1)
        await pipe.execute()


async def post(redis: Redis, url: str) -> None:
    """Posts what waits for the webhook, in one request. Raises Undelivered."""
    await _deliver(redis, "webhook", lambda alerts: _post(url, alerts))


async def mail(redis: Redis, addresses: Sequence[str]) -> None:
    """Sends what waits for that as one mail. Raises Undelivered."""
    await _deliver(redis, "mail", lambda alerts: _mail(addresses, alerts))


async def mail_waits(redis: Redis) -> bool:
    """Whether there is any to send."""
    return bool(await redis.llen(_waiting("mail")))


async def _deliver(redis: Redis, way: str, take: Callable[[list[dict[str, Any]]], None]) -> None:
    """Gives what waits to a way out, and keeps it where that does not take it.

    It is taken out of Redis first, so that no two servers tell the same.
    """
    async with redis.pipeline() as pipe:
        pipe.lrange(_waiting(way), 0, -1)
        pipe.delete(_waiting(way))
        documents, _ = await pipe.execute()
    if not documents:
        return
    try:
        take([json.loads(document) for document in documents])
    except Undelivered:
        await redis.lpush(_waiting(way), *reversed(documents))
        raise


def _post(url: str, alerts: list[dict[str, Any]]) -> None:
    """The answer must be a success; a redirection is none, since a POST does not follow it."""
    headers = {"Content-Type": "application/json", "User-Agent": "d4-server"}
    request = urllib.request.Request(url, json.dumps({"alerts": alerts}).encode(), headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirection)
    where = urlsplit(url).hostname  # the rest of it may be secret
    try:
        opener.open(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError as error:
        raise Undelivered(f"the webhook at {where} answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise Undelivered(f"the webhook at {where} cannot be reached: {reason}") from None


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Nothing is followed."""


def _mail(addresses: Sequence[str], alerts: list[dict[str, Any]]) -> None:
    message = EmailMessage()
    message["To"] = ", ".join(addresses)
    message["Subject"] = (
        alerts[0]["text"] if len(alerts) == 1 else f"{len(alerts)} alerts about sensors of d4-server"
    )
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("".join(f"{alert['text']}\n" for alert in alerts))
    command = [SENDMAIL, "-i", "--", *addresses]
    try:
        result = subprocess.run(command, input=message.as_bytes(), capture_output=True, timeout=TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Undelivered(f"no mail: {error}") from None
    if result.returncode:
        said = result.stderr.decode(errors="replace").strip()
        raise Undelivered(f"no mail: {SENDMAIL} ends with status {result.returncode}: {said}")


def _document(alert: Alert) -> dict[str, Any]:
    """An alert as the webhook gets it."""
    return {
        "sensor": str(alert.sensor),
        "name": alert.name,
        "state": alert.state,
        "seen": alert.seen or None,
        "limit": alert.limit,
        "time": int(time.time()),
        "text": str(alert),
    }


def _waiting(way: str) -> str:
    return f"d4:{{sensors}}:alerts:{way}"
