"""What the C library's malloc does with memory that is free: a batch's for the next one, or given back.

All of this is glibc's; with another C library nothing happens.
"""

from __future__ import annotations

import ctypes

KEPT_BYTES = 32 << 20
"""More than batches leave behind; as a threshold of mapping it is the most that glibc accepts."""


def keep_buffers() -> None:
    """Lets this process keep up to KEPT_BYTES that are free at the end of its heap.

    The packets of a batch and its columns are some megabytes that live for milliseconds. As it is, malloc
    maps what is large, and gives it back to the kernel as soon as it is free (mallopt(3), M_MMAP_THRESHOLD
    and M_TRIM_THRESHOLD); so the kernel zeroes the same pages again for every batch, in up to a tenth of
    the sensor's time. The most that the process has at a time grows by some megabytes.
    """
    mallopt = getattr(_C, "mallopt", None)
    if mallopt:
        mallopt(_MMAP_THRESHOLD, KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def give_back() -> None:
    """Gives all that is free back to the kernel (malloc_trim(3)).

    That takes milliseconds, as does the next batch, so it is for now and then: a daemon that has nothing to
    do should not hold what a burst needed. By itself malloc gives back the end of its heap alone, and not
    what is free below anything that lives on.
    """
    malloc_trim = getattr(_C, "malloc_trim", None)
    if malloc_trim:
        malloc_trim(0)


_C = ctypes.CDLL(None)

# Parameters of mallopt(), from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
