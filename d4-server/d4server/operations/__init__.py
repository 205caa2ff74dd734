"""What administrators can do with this server: the page, the API and the command all do it by these.

Each operation is a function of one of the rooms here. Its signature says what it takes, its result's type
what it gives; roles, path and the OpenAPI document come from the same place, so that none of the three can
do what the others cannot. Whoever calls perform() is known by then; what changes something is in the audit
trail.
"""

from __future__ import annotations

from importlib import import_module

from d4server.operations.operation import (
    Actor,
    Context,
    Failed,
    Forbidden,
    Invalid,
    Missing,
    Operation,
    Page,
    Role,
    all_operations,
    operation,
    perform,
)

__all__ = [
    "Actor",
    "Context",
    "Failed",
    "Forbidden",
    "Invalid",
    "Missing",
    "Operation",
    "Page",
    "Role",
    "all_operations",
    "operation",
    "perform",
]

ROOMS = (
    "overview",
    "sensors",
    "groups",
    "enrolment",
    "queues",
    "types",
    "blacklist",
    "users",
    "account",
    "tokens",
    "audit",
)

for _room in ROOMS:
    import_module(f"d4server.operations.{_room}")
