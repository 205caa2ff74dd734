"""Real Redis servers that belong together: a Cluster, or a master and its replica under Sentinels."""

from __future__ import annotations

import random
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Self

from redis import Redis
from redis.exceptions import RedisError
from waiting import wait_for

from demo.chain import Daemon

NODE_TIMEOUT = 1000
"""Milliseconds after which a node that does not answer counts as down."""


def free_port() -> int:
    """A port on loopback that no connection takes for its own end meanwhile, as it does of ephemeral ones."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Node:
    """A redis-server that listens on loopback and has written to its append-only file what it answers for."""

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir()
        self.port = free_port()
        arguments = [
            *(
                "redis-server",
                "--port",
                str(self.port),
                "--bind",
                "127.0.0.1",
                "127.0.0.2",
                "--dir",
                str(directory),
            ),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "always", "--supervised", "systemd"),
            *("--repl-diskless-sync-delay", "0", *options),
        ]
        self.daemon = Daemon("redis", arguments, directory)
        self.client = Redis(host="127.0.0.1", port=self.port)

    def role(self) -> str:
        """master, slave, or nothing where it does not answer."""
        with suppress(RedisError):
            return str(self.client.info("replication")["role"])
        return ""


class Together:
    """Nodes that are started and stopped together. A context manager."""

    nodes: list[Node]
    url: str

    def start(self) -> None:
        """Returns when all know of each other."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            node.client.close()
            node.daemon.stop(SIGKILL)


class RedisCluster(Together):
    """Three masters, each with so many replicas."""

    def __init__(self, directory: Path, replicas: int = 0) -> None:
        self.nodes = [
            Node(
                directory / f"node{number}",
                *("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT)),
                *("--cluster-port", str(free_port())),
            )
            for number in range(3 * (1 + replicas))
        ]
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])
        self._replicas = replicas

    def start(self) -> None:
        """Makes a cluster of the nodes."""
        for node in self.nodes:
            node.daemon.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas"]
            + [str(self._replicas), "--cluster-yes"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        wait_for(lambda: all(_agrees(node, len(self.nodes)) for node in self.nodes), 30)
        wait_for(lambda: all(_in_step(node, self._replicas) for node in self.masters()), 30)

    def masters(self) -> list[Node]:
        """Those that are masters at the moment."""
        return [node for node in self.nodes if node.role() == "master"]

    def master_of(self, key: str) -> Node:
        """The master that has a key."""
        slot = self.masters()[0].client.execute_command("CLUSTER KEYSLOT", key)
        for first, last, (_, port, *_), *_ in self.masters()[0].client.execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise LookupError(key)


def _agrees(node: Node, nodes: int) -> bool:
    info = node.client.execute_command("CLUSTER INFO")
    text = info.decode() if isinstance(info, bytes) else "\n".join(f"{k}:{v}" for k, v in info.items())
    return "cluster_state:ok" in text and f"cluster_known_nodes:{nodes}" in text


def _in_step(node: Node, replicas: int) -> bool:
    return bool(node.client.execute_command("WAIT", replicas, 100) >= replicas)


class RedisSentinel(Together):
    """A master called events, its replica, and three Sentinels that watch them."""

    def __init__(self, directory: Path) -> None:
        master = Node(directory / "one")
        replica = Node(directory / "two", "--replicaof", f"127.0.0.1 {master.port}")
        self.nodes = [master, replica]
        self._sentinels: list[Daemon] = []
        ports = [free_port() for _ in range(3)]
        for port in ports:
            own = directory / f"sentinel{port}"
            own.mkdir()
            (own / "sentinel.conf").write_text(
                f"port {port}\nbind 127.0.0.1\ndir {own}\nsupervised systemd\n"
                f"sentinel monitor events 127.0.0.1 {master.port} 2\n"
                f"sentinel down-after-milliseconds events {NODE_TIMEOUT}\n"
                "sentinel failover-timeout events 5000\n"
            )
            command = ["redis-server", str(own / "sentinel.conf"), "--sentinel"]
            self._sentinels.append(Daemon("sentinel", command, own))
        self._ports = ports
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/events/0"

    def start(self) -> None:
        """Starts Redis, then the Sentinels."""
        for node in self.nodes:
            node.daemon.start()
        wait_for(lambda: _in_step(self.nodes[0], 1))
        for sentinel in self._sentinels:
            sentinel.start()
        for port in self._ports:
            with Redis(host="127.0.0.1", port=port) as client:
                wait_for(lambda: _knows_all(client), 30)

    def __exit__(self, *_: object) -> None:
        for sentinel in self._sentinels:
            sentinel.stop(SIGKILL)
        super().__exit__()


def _knows_all(sentinel: Redis) -> bool:
    state = sentinel.sentinel_masters()["events"]
    return bool(state["num-slaves"] == 1 and state["num-other-sentinels"] == 2)
