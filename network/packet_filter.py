"""Filters of frames for the kernel: classic BPF over Ethernet.

Source: https://www.kernel.org/doc/Documentation/networking/filter.txt (opcodes, jumps forward by `jt` and `jf`).
"""

from __future__ import annotations

from typing import NamedTuple

LOAD_WORD, LOAD_HALF, LOAD_BYTE = 0x20, 0x28, 0x30
LOAD_HALF_INDEXED, LOAD_HEADER_LENGTH = 0x48, 0xB1
JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x15, 0x45, 0x06
ETHERTYPE, IPV4, ARP = 12, 0x0800, 0x0806
IP_START = 14
FRAGMENT, PROTOCOL, SOURCE, TARGET = IP_START + 6, IP_START + 9, IP_START + 12, IP_START + 16
ARP_SENDER, ARP_TARGET = IP_START + 14, IP_START + 24
SOURCE_PORT, TARGET_PORT = IP_START, IP_START + 2
NOT_FIRST_FRAGMENT = 0x1FFF
WHOLE = 0x40000
NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


class Instruction(NamedTuple):
    code: int
    jt: int
    jf: int
    k: int


class Check(NamedTuple):
    """Loads, and values one of which must be there: at each place, the load before it and the value."""

    places: tuple[tuple[tuple[tuple[int, int], ...], int], ...]
    jump: int = JUMP_EQUAL
    wanted: bool = True


def program(protocol: str = "", port: int = 0, address: int = 0) -> list[Instruction]:
    """What accepts frames of the protocol (a name, a number or "" for all), with the port and the IPv4 address as
    source or destination; 0 for any. Any filter but "arp" accepts IPv4 alone, and one by port no later fragments.
    """
    tests = list(_tests(protocol, port, address))
    lengths = [sum(len(loads) + 1 for loads, _ in test.places) for test in tests]
    found: list[Instruction] = []
    end = sum(lengths)
    for test, length in zip(tests, lengths, strict=True):
        onward = len(found) + length
        for number, (loads, value) in enumerate(test.places, 1):
            found += [Instruction(code, 0, 0, k) for code, k in loads]
            here = len(found) + 1
            other = end + 1 if number == len(test.places) else here
            jumps = (onward - here, other - here)
            found.append(Instruction(test.jump, *(jumps if test.wanted else (end + 1 - here, onward - here)), value))
    return [*found, Instruction(RETURN, 0, 0, WHOLE), Instruction(RETURN, 0, 0, 0)]


def _tests(protocol: str, port: int, address: int) -> list[Check]:
    if not (protocol or port or address):
        return []
    is_arp = protocol == "arp"
    tests = [_one_of((LOAD_HALF, ETHERTYPE), value=ARP if is_arp else IPV4)]
    if address:
        ends = (ARP_SENDER, ARP_TARGET) if is_arp else (SOURCE, TARGET)
        tests.append(_one_of(*((LOAD_WORD, end) for end in ends), value=address))
    if protocol and not is_arp:
        tests.append(_one_of((LOAD_BYTE, PROTOCOL), value=NUMBERS.get(protocol) or int(protocol)))
    if port:
        tests.append(Check(((((LOAD_HALF, FRAGMENT),), NOT_FIRST_FRAGMENT),), JUMP_ANY_BIT, wanted=False))
        length = (LOAD_HEADER_LENGTH, IP_START)
        first, second = (LOAD_HALF_INDEXED, SOURCE_PORT), (LOAD_HALF_INDEXED, TARGET_PORT)
        tests.append(Check((((length, first), port), ((second,), port))))
    return tests


def _one_of(*loads: tuple[int, int], value: int) -> Check:
    return Check(tuple(((load,), value) for load in loads))
