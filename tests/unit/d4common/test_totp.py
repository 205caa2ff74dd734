"""Codes of RFC 6238."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4common import totp

SEED = b"12345678901234567890"

# RFC 6238, appendix B, with the seeds of its errata: 20, 32 and 64 bytes.
VECTORS = [
    (59, "94287082", "46119246", "90693936"),
    (1111111109, "07081804", "68084774", "25091201"),
    (1111111111, "14050471", "67062674", "99943326"),
    (1234567890, "89005924", "91819424", "93441116"),
    (2000000000, "69279037", "90698825", "38618901"),
    (20000000000, "65353130", "77737706", "47863826"),
]


@pytest.mark.parametrize(("time", "sha1", "sha256", "sha512"), VECTORS)
def test_vectors_of_the_rfc(time: int, sha1: str, sha256: str, sha512: str) -> None:
    step = time // totp.STEP
    assert totp.code(SEED, step, 8) == sha1
    assert totp.code((SEED * 2)[:32], step, 8, "sha256") == sha256
    assert totp.code((SEED * 4)[:64], step, 8, "sha512") == sha512
    assert totp.code(SEED, step) == sha1[2:]
    assert totp.step_of(SEED, f" {sha1[2:5]} {sha1[5:]}", time) == step


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**40))
def test_a_code_is_good_for_a_step_to_either_side(secret: bytes, now: int) -> None:
    step = now // totp.STEP
    for near in range(max(0, step - 1), step + 2):
        assert totp.step_of(secret, totp.code(secret, near), now) in (near, near - 1, near + 1)
    window = {totp.code(secret, near) for near in range(max(0, step - 1), step + 2)}
    for far in (step + 2, step + 20):
        code = totp.code(secret, far)
        assert (totp.step_of(secret, code, now) is not None) == (code in window)


@given(st.text())
def test_any_text_is_a_code_or_is_not(given: str) -> None:
    codes = {totp.code(SEED, 36), totp.code(SEED, 37), totp.code(SEED, 38)}
    assert (totp.step_of(SEED, given, 37 * totp.STEP) is not None) == ("".join(given.split()) in codes)


def test_a_secret_is_shown_as_apps_take_it() -> None:
    assert totp.text(SEED) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert totp.uri(SEED, "d4-server host", "a:b@c") == (
        "otpauth://totp/d4-server%20host:a%3Ab%40c"
        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=d4-server%20host"
    )
    assert re.fullmatch("[A-Z2-7]{32}", totp.text(totp.new_secret()))
    assert totp.new_secret() != totp.new_secret()
