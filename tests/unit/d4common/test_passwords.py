"""Passwords and their hashes."""

from __future__ import annotations

import asyncio
import re

import pytest
from argon2 import extract_parameters
from hypothesis import given
from hypothesis import strategies as st

from d4common import passwords


def test_a_password_matches_its_hash_and_no_other() -> None:
    hash = passwords.hashed("correct horse")
    assert hash.startswith("$argon2id$")
    assert passwords.matches(hash, "correct horse")
    assert not passwords.matches(hash, "correct horsf")
    assert not passwords.matches(hash, "")
    assert not passwords.matches(hash, "\ud800")
    assert not passwords.matches("no hash", "correct horse")


def test_nobodys_hash_takes_the_same_work_and_matches_nothing() -> None:
    assert extract_parameters(passwords.NOBODYS) == extract_parameters(passwords.hashed("correct horse"))
    assert not passwords.matches(passwords.NOBODYS, "")


def test_the_loop_turns_while_one_hash_after_another_is_made() -> None:
    async def main() -> None:
        at_work: list[int] = []
        most: list[int] = []

        def work(number: int) -> int:
            at_work.append(number)
            most.append(len(at_work))
            at_work.remove(number)
            return number

        made = await asyncio.gather(*(passwords.aside(work, number) for number in range(20)))
        assert made == list(range(20)) and set(most) == {1}

    asyncio.run(main())


def test_random_passwords_are_long_and_differ() -> None:
    made = {passwords.random_password() for _ in range(100)}
    assert len(made) == 100
    assert all(re.fullmatch(r"([a-z2-9]{5}-){3}[a-z2-9]{5}", password) for password in made)
    assert len(passwords.random_password(2)) == 11


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short one", "10 characters at least"),
        ("x" * 1025, "1024 characters at most"),
        ("ababababababab", "5 different"),
        ("correct horse\n", "printable"),
        ("correct horse\ud800", "printable"),
    ],
)
def test_what_is_no_password_is_said(password: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        passwords.chosen(password)


@given(st.text())
def test_a_chosen_password_stays_as_it_is_and_can_be_hashed(password: str) -> None:
    try:
        assert passwords.chosen(password) == password
    except ValueError:
        return
    password.encode()
