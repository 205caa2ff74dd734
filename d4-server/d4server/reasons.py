"""Why connections are refused, in words: what an administrator reads beside the reason's name."""

from __future__ import annotations

from collections.abc import Mapping

from d4common.session import Reason

WORDS: Mapping[str, str] = {
    Reason.SIZE: "a packet was larger than D4 allows",
    Reason.UUID_VERSION: "the UUID in the header is not of version 4, or the packet is not D4",
    Reason.TYPE: "the server does not accept this type of data",
    Reason.TYPE_CHANGE: "the type changed within a connection",
    Reason.UUID_CHANGE: "the UUID changed within a connection",
    Reason.NO_META_HEADER: "data of type 254 came before its meta header",
    Reason.META_HEADER: "the meta header is no JSON, too large, or without a type",
    Reason.META_TYPE: "the server does not accept this meta type",
    Reason.SESSION: "what the sensor said about its spool cannot be",
    Reason.HMAC: "the key does not fit: the sensor has another one than the server",
    Reason.UNKNOWN_SENSOR: "the sensor is not approved: not registered yet, waiting, or revoked",
    Reason.CERTIFICATE: "the sensor showed no certificate, or one of another sensor",
    Reason.SILENT: "nothing came for too long after the connection was made",
    Reason.HANDSHAKE: "no TLS connection came about",
    Reason.CONNECTIONS: "the server had as many connections as it takes",
    Reason.ADDRESS_CONNECTIONS: "its address had as many connections as one may have",
    Reason.ADDRESS_RATE: "its address made new connections too fast",
    Reason.STRANGERS: "too many from its address had shown no valid key",
    Reason.MEMORY: "connections held as much unfinished data as they may",
    Reason.BLACKLIST: "the sensor or its address is on the blacklist",
    Reason.KICKED: "an administrator has closed its connections for a short time",
    Reason.REPLACED: "the sensor made a new connection of the same type",
    Reason.CAP: "the sensor has sent as much today as its cap lets it",
}


def words(reason: str) -> str:
    """A reason in words; the reason itself, of a server that knows more of them."""
    return WORDS.get(reason, reason)
