"""The transition tables of everything that has a state; `move` is the only way to change one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class IllegalMove(Exception):  # noqa: N818 - it names what happened, as callers show it
    """The thing is in a state from which it cannot go there. The message is fit for a user."""


@dataclass(frozen=True)
class Moves:
    """`table[event]` maps the state before to the state after; `passing` states need a workflow under way."""

    kind: str
    table: dict[str, dict[str, str]]
    passing: frozenset[str]

    @property
    def states(self) -> set[str]:
        return {state for moves in self.table.values() for pair in moves.items() for state in pair}

    def move(self, thing: Any, event: str) -> None:
        """Take `thing` where `event` leads; a thing that is there already stays (steps run more than once)."""
        moves = self.table[event]
        if thing.state in moves:
            thing.state = moves[thing.state]
        elif thing.state not in moves.values():
            wanted = " or ".join(sorted(moves))
            raise IllegalMove(f"The {self.kind} {thing.id} is {thing.state}; to {event} it must be {wanted}.")

    def demand(self, thing: Any, event: str) -> None:
        """:raises IllegalMove: `event` does not apply in the present state"""
        if thing.state not in self.table[event]:
            wanted = " or ".join(sorted(self.table[event]))
            raise IllegalMove(f"The {self.kind} {thing.id} is {thing.state}; to {event} it must be {wanted}.")


VM_MOVES = Moves(
    "virtual machine",
    {
        "start": {"Stopped": "Starting"},
        "started": {"Starting": "Running"},
        "stop": {"Running": "Stopping"},
        "stopped": {"Starting": "Stopped", "Stopping": "Stopped"},
        "fail": {"Starting": "Error", "Stopped": "Error"},
        "stay": {"Stopping": "Running"},
        "destroy": {"Stopped": "Destroyed", "Error": "Destroyed"},
        "recover": {"Destroyed": "Stopped"},
        "expunge": {"Destroyed": "Expunging", "Error": "Expunging"},
    },
    passing=frozenset({"Starting", "Stopping", "Expunging"}),
)

VOLUME_MOVES = Moves(
    "volume",
    {
        "create": {"Allocated": "Creating"},
        "created": {"Creating": "Ready"},
        "uncreate": {"Creating": "Allocated", "Ready": "Allocated"},
        "destroy": {"Ready": "Destroy", "Allocated": "Destroy"},
        "expunge": {"Destroy": "Expunging", "Allocated": "Expunging", "Ready": "Expunging"},
        "expunged": {"Expunging": "Expunged"},
    },
    passing=frozenset({"Creating", "Expunging"}),
)

NETWORK_MOVES = Moves(
    "network",
    {
        "implement": {"Allocated": "Implementing"},
        "implemented": {"Implementing": "Implemented"},
        "shutdown": {"Implemented": "Shutdown", "Implementing": "Shutdown"},
        "reset": {"Shutdown": "Allocated", "Implementing": "Allocated"},
        "destroy": {"Allocated": "Destroy", "Implemented": "Destroy"},
        "keep": {"Destroy": "Implemented"},
    },
    passing=frozenset({"Implementing", "Shutdown", "Destroy"}),
)

ROUTER_MOVES = Moves(
    "router",
    {
        "start": {"Stopped": "Starting"},
        "started": {"Starting": "Running"},
        "stop": {"Running": "Stopping"},
        "stopped": {"Stopping": "Stopped", "Starting": "Stopped"},
        "stay": {"Stopping": "Running"},
    },
    passing=frozenset({"Starting", "Stopping"}),
)

VPC_MOVES = Moves(
    "VPC",
    {"delete": {"Enabled": "Inactive"}, "keep": {"Inactive": "Enabled"}},
    passing=frozenset({"Inactive"}),
)

HOST_MOVES = Moves(
    "host",
    {
        "connect": {"Connecting": "Up", "Disconnected": "Up", "Down": "Up"},
        "lose": {"Up": "Disconnected", "Connecting": "Disconnected"},
        "bury": {"Disconnected": "Down"},
    },
    passing=frozenset(),
)

TEMPLATE_MOVES = Moves(
    "template",
    {
        "ready": {"Registering": "Ready"},
        "fail": {"Registering": "Failed"},
        "remove": {"Ready": "Removing", "Failed": "Removing"},
    },
    passing=frozenset({"Registering", "Removing"}),
)

CAPTURE_MOVES = Moves("packet capture", {"finish": {"Capturing": "Ready"}}, passing=frozenset({"Capturing"}))

PROJECT_MOVES = Moves(
    "project",
    {
        "suspend": {"Active": "Suspended"},
        "activate": {"Suspended": "Active"},
        "delete": {"Active": "Disabled", "Suspended": "Disabled"},
    },
    passing=frozenset(),
)


RULE_MOVES = Moves(
    "rule",
    {
        "apply": {"Add": "Active"},
        "revoke": {"Add": "Revoke", "Active": "Revoke"},
        "keep": {"Revoke": "Active"},
    },
    passing=frozenset({"Add", "Revoke"}),
)

VPN_MOVES = Moves(
    "remote access VPN",
    {
        "run": {"Added": "Running"},
        "withdraw": {"Added": "Removed", "Running": "Removed"},
        "keep": {"Removed": "Running"},
    },
    passing=frozenset({"Added", "Removed"}),
)

VPN_USER_MOVES = Moves("VPN user", RULE_MOVES.table, RULE_MOVES.passing)

VPN_CONNECTION_MOVES = Moves(
    "VPN connection",
    {
        "begin": {"Pending": "Connecting"},
        "connect": {"Connecting": "Connected", "Disconnected": "Connected"},
        "seek": {"Connected": "Connecting", "Disconnected": "Connecting"},
        "lose": {"Connecting": "Disconnected", "Connected": "Disconnected"},
        "withdraw": {
            "Pending": "Removed", "Connecting": "Removed", "Connected": "Removed", "Disconnected": "Removed",
        },
        "keep": {"Removed": "Disconnected"},
    },
    passing=frozenset({"Pending", "Removed"}),
)  # fmt: skip

STATIC_ROUTE_MOVES = Moves("static route", RULE_MOVES.table, RULE_MOVES.passing)

PRIVATE_GATEWAY_MOVES = Moves(
    "private gateway",
    {
        "created": {"Creating": "Ready"},
        "delete": {"Creating": "Deleting", "Ready": "Deleting"},
        "keep": {"Deleting": "Ready"},
    },
    passing=frozenset({"Creating", "Deleting"}),
)

ALL_MOVES = (VM_MOVES, VOLUME_MOVES, NETWORK_MOVES, ROUTER_MOVES, HOST_MOVES, TEMPLATE_MOVES, PROJECT_MOVES, RULE_MOVES,
             VPC_MOVES, VPN_MOVES, VPN_USER_MOVES, VPN_CONNECTION_MOVES, STATIC_ROUTE_MOVES, PRIVATE_GATEWAY_MOVES,
             CAPTURE_MOVES)  # fmt: skip
