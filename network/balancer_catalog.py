"""What load balancing by the virtual router can do, in CloudStack's words."""

from __future__ import annotations

import json
from collections.abc import Mapping
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


def _methods() -> str:
    """As CloudStack's user interface reads it."""
    return json.dumps(
        [
            {
                "methodname": method,
                "paramlist": [
                    {"paramname": name, "required": False, "isflag": is_flag, "description": " "}
                    for name, is_flag in parameters.items()
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
    "SupportedStickinessMethods": _methods(),
}
