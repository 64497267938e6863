"""What a hypervisor can do for the agent, and what can go wrong."""

# ruff: noqa: N818 - the names say what happened; all are errors by their base

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from agents.contract import DomainFacts, HostFacts, NicSpec, VmSpec
from agents.figures import GuestFigures
from storage.types import DiskSource


class HypervisorError(Exception):
    """Base of all errors of this package. `retryable`: the same call may succeed later without any change."""

    retryable: ClassVar[bool] = False


class HypervisorUnavailable(HypervisorError):
    """It does not answer, or not in time; guests are not touched by that: try again."""

    retryable = True


class StaleDomain(HypervisorError):
    """A domain of another generation is there: look at which placement is the true one."""


class ForeignDomain(HypervisorError):
    """A domain that Pileus did not define has the name or the UUID: an operator has to look."""


class DomainRefused(HypervisorError):
    """The hypervisor cannot run the domain as it is specified."""


class DomainNotRunning(HypervisorError):
    """The call needs a running domain."""


@dataclass(frozen=True, slots=True)
class Measured:
    """By tap device, the bytes that guests have received and sent through it; and what each guest did in all."""

    taps: dict[str, tuple[int, int]]
    guests: tuple[GuestFigures, ...] = ()


class Hypervisor(Protocol):
    """Runs domains. Starting what runs, or stopping what is gone, is no error; every call is bounded in time."""

    def start(self, vm: VmSpec, disks: Sequence[DiskSource]) -> None:
        """Define and boot the domain; `disks` are those of `vm.disks` in the same order, taps are plugged already.

        A domain that runs with the same generation is left alone; one that is off is defined anew.
        :raises StaleDomain: it runs with another generation, or a newer one is defined
        :raises ForeignDomain: one that is not ours has the name or UUID
        """

    def stop(self, vm_id: str, forced: bool, grace: int) -> None:
        """Shut down by ACPI within `grace` seconds, else or when `forced` power off; then undefine."""

    def reboot(self, vm_id: str, forced: bool, grace: int) -> None:
        """Restart the guest by ACPI; when it is not off within `grace` seconds, or `forced`, reset it.

        :raises DomainNotRunning: there is no such running domain
        """

    def attach(self, vm_id: str, nic: NicSpec) -> None:
        """Give the running domain a NIC whose tap is plugged already; one it has is left alone.

        :raises DomainNotRunning: there is no such running domain
        """

    def detach(self, vm_id: str, nic: NicSpec) -> None:
        """Take the NIC from the domain; it lacks one that is gone, or is gone itself.

        :raises DomainRefused: the guest does not let go of it
        """

    def domains(self) -> list[DomainFacts]:
        """All domains of the host, those of others too."""

    def console(self, vm_id: str, limit: int) -> str:
        """The last `limit` bytes of the serial console, also of a domain that was stopped; '' when there are none."""

    def forget(self, vm_id: str) -> None:
        """Remove what is kept of a domain that was stopped for good: its console's output."""

    def measure(self) -> Measured:
        """What running guests, those of others too, have done since they were started."""

    def facts(self) -> HostFacts:
        """The host as the hypervisor knows it; the fields of switch, underlay and disks are empty."""
