"""Emulated network hardware: each device speaks its vendor's protocol, refuses what the vendor's documents do not
define, and forwards real packets in its own network namespace. Part of DevCloud and of the tests, never of a host.
"""
