"""What the device answers as rpc-error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RpcError(Exception):
    """`tag` and `kind` (protocol or application) are those of RFC 6241, appendix A; `path` is Junos' edit path."""

    message: str
    tag: str = "operation-failed"
    kind: str = "protocol"
    path: str = ""
    element: str = ""

    def __str__(self) -> str:
        return self.message
