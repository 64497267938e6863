"""What a guest does, as its hypervisor counts it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuestFigures:
    """Counters of a running guest since its domain was started, and its memory as it is at `measured`.

    `measured` is in seconds of the host's clock; `cpu_ns` are nanoseconds on all its CPUs; `received` to `written` are
    bytes; memory is in KiB: given now, given at most, and free as the guest itself tells, where it does.
    """

    vm_id: str
    measured: float
    cpu_ns: int = 0
    received: int = 0
    sent: int = 0
    read: int = 0
    written: int = 0
    reads: int = 0
    writes: int = 0
    memory: int = 0
    memory_target: int = 0
    memory_free: int | None = None
