"""What load balancing by virtual routers and NetScalers can do, in CloudStack's words."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from typing import Final

STICKINESS_METHODS: Final[Mapping[str, tuple[str, Mapping[str, bool]]]] = {
    "LbCookie": (
        "This is loadbalancer cookie based stickiness method.",
        {"cookie-name": False, "mode": False, "nocache": True, "indirect": True, "postonly": True, "domain": False},
    ),
    "AppCookie": (
        (
            "This is App session based sticky method. Define session stickiness on an existing application cookie. "
            "It can be used only for a specific http traffic"
        ),
        {"cookie-name": False, "length": False, "holdtime": False, "request-learn": True, "mode": False},
    ),
    "SourceBased": (
        "This is source based Stickiness method, it can be used for any type of protocol.",
        {"tablesize": False, "expire": False},
    ),
}
"""By method: its description, and its parameters: whether each is a flag, which stands without a value."""


NETSCALER_STICKINESS: Final[Mapping[str, frozenset[str]]] = {
    "LbCookie": frozenset({"cookie-name", "mode"}),
    "AppCookie": frozenset({"cookie-name", "holdtime", "request-learn"}),
    "SourceBased": frozenset({"expire"}),
}
"""The parameters that a NetScaler knows; the only mode is that it inserts a cookie of its own."""


def _methods(known: Mapping[str, Container[str]]) -> str:
    """As CloudStack's user interface reads it."""
    return json.dumps(
        [
            {
                "methodname": method,
                "paramlist": [
                    {"paramname": name, "required": False, "isflag": is_flag, "description": " "}
                    for name, is_flag in parameters.items()
                    if name in known[method]
                ],
                "description": description,
            }
            for method, (description, parameters) in STICKINESS_METHODS.items()
        ],
        separators=(",", ":"),
    )


LB_CAPABILITIES: Final[Mapping[str, str]] = {
    "HealthCheckPolicy": "true",
    "LbSchemes": "Public",
    "SslTermination": "true",
    "SupportedLBAlgorithms": "roundrobin,leastconn,source",
    "SupportedLBIsolation": "dedicated",
    "SupportedProtocols": "tcp,tcp-proxy,ssl",
    "SupportedStickinessMethods": _methods({name: means for name, (_, means) in STICKINESS_METHODS.items()}),
}
NETSCALER_CAPABILITIES: Final[Mapping[str, str]] = {
    **LB_CAPABILITIES,
    "SupportedLBIsolation": "dedicated, shared",
    "SupportedProtocols": "tcp,ssl",
    "SupportedStickinessMethods": _methods(NETSCALER_STICKINESS),
}
