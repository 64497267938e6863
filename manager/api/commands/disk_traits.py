"""How the disks of an offering are made and used: the parameters and fields that both kinds of offerings have.

All hold to what is started from then on: a virtual machine that runs keeps its disks as they are.
"""

from __future__ import annotations

from typing import Any

from manager.api.command import Given, Request
from manager.api.errors import Invalid
from manager.api.fields import Choice, Long
from manager.api.response import Int, Response, Shown, Str
from manager.models import DiskOffering, ServiceOffering

PROVISIONING = ("thin", "sparse", "fat")
CACHE_MODES = ("none", "writeback", "writethrough")
LIMITS = {
    f"{kind}{way}rate{suffix}": f"{field}_{unit}{ending}"
    for way, field in (("read", "read"), ("write", "write"))
    for kind, unit in (("bytes", "bytes"), ("iops", "iops"))
    for suffix, ending in (("", ""), ("max", "_max"), ("maxlength", "_max_length"))
}
"""By parameter: the field of storage.types.IoLimits."""
MOST_RATE, MOST_SECONDS = 10**15, 86400


def _rate(what: str) -> Long:
    return Long(f"{what} in a second, at most", least=1, most=MOST_RATE)


def _burst(what: str) -> Long:
    return Long(f"{what} in a second, at most, for a while", least=1, most=MOST_RATE)


def _length(rate: str) -> Long:
    return Long(f"for how many seconds {rate} may be used up", least=1, most=MOST_SECONDS)


class DiskLimits(Request):
    bytesreadrate = _rate("bytes read")
    bytesreadratemax = _burst("bytes read")
    bytesreadratemaxlength = _length("bytesreadratemax")
    byteswriterate = _rate("bytes written")
    byteswriteratemax = _burst("bytes written")
    byteswriteratemaxlength = _length("byteswriteratemax")
    iopsreadrate = _rate("reads")
    iopsreadratemax = _burst("reads")
    iopsreadratemaxlength = _length("iopsreadratemax")
    iopswriterate = _rate("writes")
    iopswriteratemax = _burst("writes")
    iopswriteratemaxlength = _length("iopswriteratemax")
    cachemode = Choice("how hosts cache the disk: none is past their page cache", CACHE_MODES)


class NewDiskTraits(DiskLimits):
    provisioningtype = Choice(
        "thin: the disk takes the space that is written; sparse: its tables are made whole; fat: all of it is reserved",
        PROVISIONING,
        default="thin",
    )


class DiskTraitsResponse(Response):
    provisioningtype = Str("thin, sparse or fat: what space a disk takes when it is made")
    cacheMode = Str("how hosts cache the disk")  # noqa: N815 - CloudStack's name, as are the ones below
    diskBytesReadRate = Int("bytes read in a second, at most")  # noqa: N815
    diskBytesReadRateMax = Int("bytes read in a second, at most, for a while")  # noqa: N815
    diskBytesReadRateMaxLength = Int("for how many seconds")  # noqa: N815
    diskBytesWriteRate = Int("bytes written in a second, at most")  # noqa: N815
    diskBytesWriteRateMax = Int("bytes written in a second, at most, for a while")  # noqa: N815
    diskBytesWriteRateMaxLength = Int("for how many seconds")  # noqa: N815
    diskIopsReadRate = Int("reads in a second, at most")  # noqa: N815
    diskIopsReadRateMax = Int("reads in a second, at most, for a while")  # noqa: N815
    diskIopsReadRateMaxLength = Int("for how many seconds")  # noqa: N815
    diskIopsWriteRate = Int("writes in a second, at most")  # noqa: N815
    diskIopsWriteRateMax = Int("writes in a second, at most, for a while")  # noqa: N815
    diskIopsWriteRateMaxLength = Int("for how many seconds")  # noqa: N815


_LIMITS_SHOWN = {
    name: LIMITS[name.lower().removeprefix("disk")] for name in DiskTraitsResponse.fields if name.startswith("disk")
}


def shown_traits(row: ServiceOffering | DiskOffering) -> Shown:
    limits = {name: row.io_limits.get(field) for name, field in _LIMITS_SHOWN.items()}
    return {"provisioningtype": row.provisioning, "cacheMode": row.cache_mode, **limits}


def take_limits(offering: ServiceOffering | DiskOffering, given: Given) -> None:
    """Give the offering the limits and the cache mode that the call names.

    :raises Invalid: a burst without the rate that it goes beyond, or a length without its burst
    """
    told = {LIMITS[name]: getattr(given, name) for name in LIMITS if getattr(given, name) is not None}
    limits: dict[str, Any] = {**(offering.io_limits or {}), **told}
    for name, field in LIMITS.items():
        if field not in limits or not name.endswith(("max", "maxlength")):
            continue
        base = name.removesuffix("length") if name.endswith("length") else name.removesuffix("max")
        if LIMITS[base] not in limits:
            raise Invalid(f"The parameter {name} needs {base} too.")
        if name.endswith("max") and limits[field] < limits[LIMITS[base]]:
            raise Invalid(f"The parameter {name} of {limits[field]} is less than {base}, {limits[LIMITS[base]]}.")
    if told:
        offering.io_limits = limits
    if given.cachemode is not None:
        offering.cache_mode = given.cachemode
