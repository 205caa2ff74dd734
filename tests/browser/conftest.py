"""The browser of the page for administrators, whose certificate is the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import chromium, webdriver


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path, "--ignore-certificate-errors") as driver:
        yield driver
