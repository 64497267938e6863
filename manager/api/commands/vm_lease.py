"""Leases of virtual machines: the days that they are kept, and what is done to them then."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

from manager import configuration
from manager.api.call import Call
from manager.api.command import Given
from manager.api.errors import Invalid
from manager.api.fields import Choice, Integer
from manager.api.response import Shown
from manager.models import ServiceOffering, Vm, utcnow
from manager.workflows.vm_leases import DESTROY, ENABLED, PENDING, STOP

MOST_DAYS = 36500
NO_LEASE = -1
DAY = dt.timedelta(days=1)


def days_field(description: str, *, least: int = 1) -> Integer:
    return Integer(description, least=least, most=MOST_DAYS)


def action_field() -> Choice:
    return Choice("what is done when the lease has ended", [STOP, DESTROY])


def _demand_enabled(call: Call) -> None:
    if not configuration.value(call.session, ENABLED):
        raise Invalid(f"Leases are off in this cloud: the setting {ENABLED} is false.")


def lease_of_offering(call: Call, given: Given) -> tuple[int | None, str | None]:
    """Days and action.

    :raises Invalid: leases are off, or only one of both is given
    """
    days, action = given.leaseduration, given.leaseexpiryaction
    if days is None and action is None:
        return None, None
    _demand_enabled(call)
    if days is None or action is None:
        raise Invalid("A lease has both leaseduration and leaseexpiryaction.")
    return days, action


def take_lease(call: Call, vm: Vm, given: Given, offering: ServiceOffering | None = None) -> None:
    """Give the VM the lease that the call asks for; -1 days for none. A new one without has that of its `offering`.

    :raises Invalid: leases are off, the days are none, or there is no lease of which to change the action
    """
    days, action = given.leaseduration, given.leaseexpiryaction
    if days is None and action is None:
        if offering is None or offering.lease_days is None or not configuration.value(call.session, ENABLED):
            return
        days, action = offering.lease_days, offering.lease_action
    else:
        _demand_enabled(call)
    if days == NO_LEASE:
        vm.lease_ends = vm.lease_action = vm.lease_state = None
        return
    if days == 0:
        raise Invalid(f"The parameter leaseduration is 1 to {MOST_DAYS} days, or {NO_LEASE} for no lease.")
    if days is None and vm.lease_ends is None:
        raise Invalid("The parameter leaseexpiryaction needs leaseduration too: there is no lease yet.")
    if days is not None:
        if (action or vm.lease_action) is None:
            raise Invalid("The parameter leaseduration needs leaseexpiryaction too: there is no lease yet.")
        vm.lease_ends, vm.lease_state = utcnow() + days * DAY, PENDING
    vm.lease_action = action or vm.lease_action


def shown_lease(row: Any) -> Shown:
    """Of a row with a VM's columns: the days that are left (one that has begun counts), the end and the action."""
    if row.lease_ends is None:
        return {}
    left = math.ceil((row.lease_ends - utcnow()) / DAY)
    return {"leaseduration": max(left, 0), "leaseexpirydate": row.lease_ends, "leaseexpiryaction": row.lease_action}
