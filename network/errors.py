"""What can go wrong in the network library; `retryable` says whether the same call may succeed a little later."""

from __future__ import annotations


class NetworkError(Exception):
    retryable: bool = False


class InvalidViewError(NetworkError):
    """The wanted state contradicts itself or holds a value that must not reach a configuration; ask for another."""


class CommandFailedError(NetworkError):
    """A tool of the host refused what it was told."""


class CommandTimeoutError(CommandFailedError):
    """`said` is what the tool had written to standard output by then."""

    retryable = True

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class SwitchUnreachableError(NetworkError):
    """Open vSwitch does not answer: it is down or restarting."""

    retryable = True


class SwitchRefusedError(NetworkError):
    """Open vSwitch refused a change; nothing of it was applied."""


class NumbersExhaustedError(NetworkError):
    """The host has no port number, conntrack zone or group left."""


class RouterFailedError(NetworkError):
    """A part of a router did not come up; applying the same wanted state again repairs it."""

    retryable = True


class DeviceUnreachableError(NetworkError):
    """A hardware device does not answer, or ended the conversation."""

    retryable = True


class DeviceBusyError(NetworkError):
    """Somebody else holds the configuration of a hardware device."""

    retryable = True


class DeviceRefusedError(NetworkError):
    """A hardware device refused a login or a change, of which nothing was applied; the message ends with its reason."""


class CaptureFailedError(NetworkError):
    """Frames cannot be recorded: the device is not there, or what was recorded is lost."""
