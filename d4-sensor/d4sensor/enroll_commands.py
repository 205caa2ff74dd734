"""The commands enroll and renew: a key of the server's for this sensor."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from d4common import command, config, service
from d4common.config import Proxy
from d4sensor import identity
from d4sensor.config import D4, SensorConfig

if TYPE_CHECKING:
    from d4common.enrolling import Approved
    from d4sensor.enroll import Server
    from d4sensor.place import Place

# What only these commands need is imported where they run: the daemon starts without it.

Files = Callable[[argparse.Namespace], list[Path]]

CONFIG = Path("/etc/d4/sensor.conf")

NOT_YET = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) where an administrator must approve first."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser], files: Files) -> None:
    """Adds the commands to a command line. ``files`` names the configuration, from the arguments."""
    enrolling = commands.add_parser("enroll", help="have a server let this sensor in")
    enrolling.add_argument("server", type=command.argument(config.endpoint(4443)), metavar="HOST[:PORT]")
    admitted = enrolling.add_mutually_exclusive_group()
    admitted.add_argument("--token", help="what `d4-server sensors token` printed")
    admitted.add_argument("--token-file", metavar="FILE", help="file that holds it; - is standard input")
    known = enrolling.add_mutually_exclusive_group()
    known.add_argument(
        "--fingerprint",
        type=command.argument(_fingerprint),
        metavar="SHA256",
        help="of the server's certificate, as `d4-server certificate` prints it",
    )
    known.add_argument("--ca", type=Path, metavar="FILE", help="CA that signed the server's certificate")
    enrolling.add_argument("--name", help="what the server calls this sensor, if not as its events do")
    enrolling.add_argument("--certificate", action="store_true", help="get a certificate for mutual TLS too")
    enrolling.add_argument(
        "--no-wait", action="store_true", help=f"end with status {NOT_YET} where somebody must approve first"
    )
    enrolling.set_defaults(run=lambda arguments: _run(_enroll, arguments, files))

    renewing = commands.add_parser("renew", help="get another key, and another certificate where one is due")
    renewing.add_argument(
        "--due", action="store_true", help="only say whether a certificate ends soon: status 0, or 1 if not"
    )
    renewing.add_argument(
        "--certificate", action="store_true", help="get a certificate too, due or not, or the first one"
    )
    renewing.set_defaults(run=lambda arguments: _run(_renew, arguments, files))


Command = Callable[[argparse.Namespace, Files, "Place"], None]


def _run(act: Command, arguments: argparse.Namespace, files: Files) -> None:
    """Runs one of the commands, and says in a line what went wrong."""
    from d4common import tls
    from d4sensor import enroll
    from d4sensor.place import Place

    try:
        act(arguments, files, Place((arguments.config or CONFIG).absolute()))
    except (enroll.Failed, tls.TLSError, ValueError) as error:
        service.end(str(error))
    except OSError as error:
        service.end(f"{error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        service.end("stopped; the same command goes on where it was")


def _enroll(arguments: argparse.Namespace, files: Files, place: Place) -> None:
    """d4-sensor enroll"""
    from d4common import enrolling
    from d4sensor import certificate, enroll
    from d4sensor.place import elsewhere

    settings = command.load_or_end(SensorConfig, files(arguments))
    name, token = _name(arguments.name or settings.capture.sensor_name()), _token(arguments)
    server = _server(arguments, settings.d4.proxy)
    uuid = settings.d4.uuid or _made(place)
    csr = certificate.request(uuid, place.key) if arguments.certificate else None
    request = enrolling.Enroll(uuid, name, place.claim(), token, csr)

    def wait(code: str) -> None:
        hint = f"with code {code}: `d4-server sensors approve {uuid}` on the server lets it in"
        if arguments.no_wait:
            service.end(f"{name} waits for approval {hint}; then run this again", NOT_YET)
        print(f"{name} waits for approval {hint}", flush=True)

    async def ask() -> None:
        dialogue, answer = await enroll.enroll(server, request, wait)
        await enroll.check(server, answer.ca)
        place.write(server.destination, uuid, answer)
        await dialogue.finish()
        place.claim_file.unlink()
        _look_at(csr, answer)

    asyncio.run(ask())
    print(f"enrolled at {server.destination} as {uuid}; `systemctl restart d4-sensor` makes it so")
    loaded = config.load(SensorConfig, files(arguments))
    names, own = ("uuid", "key", "destination", "ca"), (place.identity, place.server)
    for problem in elsewhere(loaded, names, own):
        print(problem, file=sys.stderr)


def _renew(arguments: argparse.Namespace, files: Files, place: Place) -> None:
    """d4-sensor renew"""
    from d4sensor import certificate, enroll
    from d4sensor.place import elsewhere

    settings = command.load_or_end(SensorConfig, files(arguments)).d4
    due = settings.client_certificate is not None and certificate.is_due(settings.client_certificate)
    if arguments.due:
        sys.exit(0 if due else 1)
    if settings.uuid is None or settings.key is None:
        service.end("[d4] uuid and key are not set; `d4-sensor enroll HOST` gets them from a server")
    for problem in elsewhere(config.load(SensorConfig, files(arguments)), ["key"], [place.identity]):
        service.end(f"{problem}; move it to {place.identity}")
    uuid, key, servers = settings.uuid, settings.key, _configured(settings)
    wanted = due or arguments.certificate
    csr = certificate.request(uuid, settings.client_key or place.key) if wanted else None

    async def ask() -> None:
        dialogue, answer = await enroll.renew(servers, uuid, key.encode(), csr)
        identity.replace(place.identity, uuid, answer.key)
        if answer.certificate and settings.client_certificate:
            certificate.replace(settings.client_certificate, answer.certificate)
        elif answer.certificate:
            place.write_certificate(answer.certificate)
        await dialogue.finish()
        _look_at(csr, answer)

    asyncio.run(ask())
    print(f"{place.identity} has another key; `systemctl restart d4-sensor` within a day makes it so")


def _look_at(csr: str | None, answer: Approved) -> None:
    """Says so where a certificate was asked for in vain."""
    if csr and not answer.certificate:
        print("the server gives no certificates; its log says why", file=sys.stderr)


def _made(place: Place) -> UUID:
    """The UUID of the identity, which is made if there is none."""
    identity.make(place.identity)
    uuid = config.load(SensorConfig, [place.identity]).value.d4.uuid
    if uuid is None:
        raise ValueError(f"{place.identity} sets no uuid; without the file another one is made")
    return uuid


def _server(arguments: argparse.Namespace, proxy: Proxy | None) -> Server:
    """The server to enrol at, and how it is known; whoever runs this is asked if nothing was given."""
    from d4common import enrolling, tls
    from d4sensor import enroll

    if arguments.ca:
        context = tls.client_context(arguments.ca, verify=True, alpn=[enrolling.ALPN_ENROLL])
        return enroll.Server(arguments.server, context, proxy=proxy)
    server = enroll.Server(arguments.server, enroll.unverified(), proxy=proxy)
    return dataclasses.replace(server, fingerprint=arguments.fingerprint or _confirmed(server))


def _configured(settings: D4) -> list[Server]:
    """The servers to which this sensor sends, known by their CA."""
    from d4common import enrolling, tls
    from d4sensor import enroll

    if not settings.verify:
        service.end("[d4] verify = no: a key is only ever taken from a server that was verified")
    context = tls.client_context(settings.ca, verify=True, alpn=[enrolling.ALPN_ENROLL])
    return [enroll.Server(each, context, proxy=settings.proxy) for each in settings.destination]


def _confirmed(server: Server) -> str:
    """The fingerprint of the certificate that a server shows, once whoever runs this has said yes to it."""
    from d4sensor import enroll

    if not sys.stdin.isatty():
        service.end(
            "how is the server known? Give --fingerprint, which `d4-server certificate` prints there, or --ca"
        )
    fingerprint = asyncio.run(enroll.look(server))
    print(f"{server.destination} shows a certificate with the SHA-256\n{enroll.shown(fingerprint)}")
    if input("Is it what `d4-server certificate` prints there? [yes/no] ").strip().lower() != "yes":
        service.end("not enrolled: nothing was sent to that server")
    return fingerprint


def _token(arguments: argparse.Namespace) -> str | None:
    """The token that was given, or stands in the file that was named."""
    if arguments.token_file is None:
        token: str | None = arguments.token
        return token
    text = sys.stdin.read() if arguments.token_file == "-" else Path(arguments.token_file).read_text()
    return text.strip()


def _name(text: str) -> str:
    from d4common import enrolling

    try:
        return enrolling.name(text)
    except ValueError as error:
        raise ValueError(f"the sensor's name, {text!r}, {error}; --name gives it another one") from None


def _fingerprint(text: str) -> str:
    """SHA-256 in hexadecimal digits, with or without colons."""
    digits = text.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise ValueError("must be a SHA-256, 64 hexadecimal digits with or without colons")
    return digits
