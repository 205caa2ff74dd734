"""Where a sensor keeps what its server gave it, so that nothing is lost of it and nothing half written."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from d4common import config, enrolling, files
from d4common.config import Endpoint
from d4common.enrolling import Approved
from d4sensor import certificate, identity


@dataclass(frozen=True)
class Place:
    """Where a sensor keeps what its server gives it: beside its configuration file, and in its drop-ins."""

    config: Path

    @property
    def ca(self) -> Path:
        """The CA by which the sensor knows its server."""
        return self.config.with_name("ca.pem")

    @property
    def certificate(self) -> Path:
        """The sensor's certificate, where it has one."""
        return self.config.with_name("sensor.pem")

    @property
    def key(self) -> Path:
        """The key of that."""
        return self.config.with_name("sensor.key")

    @property
    def identity(self) -> Path:
        """UUID and key for D4."""
        return self._drop_in(identity.PATH.name)

    @property
    def server(self) -> Path:
        """Where to send."""
        return self._drop_in("20-server.conf")

    @property
    def own_certificate(self) -> Path:
        """Where its certificate is."""
        return self._drop_in("30-certificate.conf")

    @property
    def claim_file(self) -> Path:
        """What proves that the same sensor asks again, until it has its answer."""
        return self._drop_in(".claim")

    def claim(self) -> str:
        """What proves that the same sensor asks again: made at the first time, and kept. Raises OSError."""
        try:
            return self.claim_file.read_text().strip()
        except FileNotFoundError:
            made = enrolling.random()
            self.claim_file.parent.mkdir(exist_ok=True)
            files.replace(self.claim_file, made.encode() + b"\n", 0o600)
            return made

    def write(self, destination: Endpoint, uuid: UUID, answer: Approved) -> None:
        """Writes what a sensor was given when it enrolled, the identity last.

        Raises OSError, and ValueError where it would take the place of what belongs to a server on this host.
        """
        ca = answer.ca.encode()
        if self.ca.with_name("tls").exists() and self.ca.read_bytes() != ca:
            raise ValueError(
                f"{self.ca} is that of the d4-server on this host; its sensor cannot have another server"
            )
        files.replace(self.ca, ca, 0o644)
        if answer.certificate:
            self.write_certificate(answer.certificate)
        where = f"destination = {destination}\nca = {self.ca}\n"
        _write_options(self.server, "The server at which this sensor has enrolled.", where)
        identity.replace(self.identity, uuid, answer.key)

    def write_certificate(self, pem: str) -> None:
        """Writes a certificate for the key at ``key``, and has the sensor use both. Raises OSError."""
        certificate.replace(self.certificate, pem)
        which = f"client_certificate = {self.certificate}\nclient_key = {self.key}\n"
        _write_options(self.own_certificate, "The certificate that this sensor got from its server.", which)

    def _drop_in(self, name: str) -> Path:
        return self.config.with_name(f"{self.config.name}.d") / name


def elsewhere(loaded: config.Loaded[Any], names: Iterable[str], own: Container[Path]) -> list[str]:
    """Where options of [d4] are in force that are not written in the files ``own``, in sentences."""
    written = [(name, loaded.written.get(("d4", name))) for name in names]
    return [
        f"{each.origin} sets {name}, and wins over what the server gives"
        for name, each in written
        if each is not None and each.origin.path not in own
    ]


def _write_options(path: Path, what: str, options: str) -> None:
    files.replace(path, f"# {what}\n[d4]\n{options}".encode(), 0o644)
