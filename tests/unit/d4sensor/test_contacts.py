"""Who contacts whom, as columns."""

from __future__ import annotations

import weakref
from collections import Counter

import frames
import numpy as np
import pytest
from sensing import SECOND, batch_at

from d4sensor import contacts
from d4sensor.contacts import Contacts, Openings, Recent, repeated
from d4sensor.sieve import sieve

A, B = "10.0.0.1", "203.0.113.5"
A6, B6 = "2001:db8::1", "2001:db8::2"


def of(*packets: bytes) -> Contacts:
    """The contacts of these frames, a second apart."""
    traffic = sieve(batch_at(*enumerate(packets)), Counter())
    return contacts.of(traffic, np.arange(len(traffic.tcp)))


def groups(keys: contacts.Keys) -> list[int]:
    """For each key, where it occurs first."""
    return [keys.tolist().index(key) for key in keys.tolist()]


PACKETS = [
    frames.syn(A, 1, B, 2),
    frames.udp(B, 2, A, 1),
    frames.syn(A, 2, B, 1),
    frames.syn(A, 1, B, 2, frames.ACK),
    frames.syn(A6, 1, B6, 2),
    frames.udp(B6, 2, A6, 1),
    frames.syn(A6, 1, A6, 2),
]


def test_columns() -> None:
    seen = of(*PACKETS)
    assert seen.sec.tolist() == [SECOND + n for n in range(7)]
    assert seen.src_port.tolist() == [1, 2, 2, 1, 1, 2, 1]
    assert seen.dst_port.tolist() == [2, 1, 1, 2, 2, 1, 2]
    assert seen.is_six().tolist() == [False] * 4 + [True] * 3
    assert seen.where(seen.is_six()).at.tolist() == [4, 5, 6]


def test_keys_are_the_same_for_what_they_name() -> None:
    seen = of(*PACKETS)
    assert groups(seen.pair()) == [0, 1, 0, 0, 4, 5, 6]
    assert groups(seen.either_way()) == [0, 0, 2, 0, 4, 4, 6]
    assert groups(seen.from_port()) == [0, 1, 2, 0, 4, 5, 4]
    assert groups(seen.service()) == [0, 1, 2, 0, 4, 5, 6]


def test_keys_of_many_flows_differ() -> None:
    many = [
        frames.syn(f"10.0.{n % 7}.{n % 13}", n % 17, f"10.1.{n % 7}.{n % 19}", n % 23) for n in range(3000)
    ]
    assert len(set(of(*many).either_way().tolist())) == len(set(many))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("10.255.255.255", True),
        ("11.0.0.0", False),
        ("100.64.0.1", True),
        ("100.128.0.1", False),
        ("127.0.0.1", True),
        ("169.254.1.1", True),
        ("172.15.255.255", False),
        ("172.16.0.0", True),
        ("172.31.255.255", True),
        ("172.32.0.0", False),
        ("192.168.0.1", True),
        ("192.169.0.1", False),
        ("223.255.255.255", False),
        ("224.0.0.1", True),
        ("::1", True),
        ("2001:db8::1", False),
        ("fbff::1", False),
        ("fd00::1", True),
        ("fe80::1", True),
        ("ff02::1", True),
    ],
)
def test_local(address: str, local: bool) -> None:
    other = A6 if ":" in address else B
    seen = of(frames.syn(address, 1, other, 2), frames.syn(other, 1, address, 2))
    assert (seen.local_src.tolist()[0], seen.local_dst.tolist()[1]) == (local, local)


def test_batch_is_not_held_once_it_was_judged() -> None:
    openings = Openings()
    traffic = sieve(batch_at((0, PACKETS[0])), Counter())
    assert openings.of(traffic) is openings.of(traffic)
    window = weakref.ref(traffic.window)
    del traffic
    assert window() is None


def test_recent() -> None:
    recent = Recent(10)
    keys = np.array([5, 6], dtype=np.uint64)
    at = np.array([100, 100], dtype=np.uint32)
    assert recent.fresh(keys, at).tolist() == [True, True]
    assert recent.fresh(keys, at + np.uint32(9)).tolist() == [False, False]
    assert recent.fresh(keys, at + np.uint32(10)).tolist() == [True, True]
    assert recent.fresh(keys, at).tolist() == [True, True], "a clock that went back"


def test_what_falls_into_the_same_slot_drives_out() -> None:
    recent = Recent(10, slots=1)
    at = np.array([100], dtype=np.uint32)
    for key in (5, 6, 5):
        assert recent.fresh(np.array([key], dtype=np.uint64), at).tolist() == [True]


def test_repeated() -> None:
    assert repeated(np.array([3, 1, 3, 2, 1, 3], dtype=np.uint64)).tolist() == [
        False,
        False,
        True,
        False,
        True,
        True,
    ]
    assert repeated(np.array([], dtype=np.uint64)).tolist() == []
