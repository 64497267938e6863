from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from network.errors import NumbersExhaustedError
from network.flows import FlowSet
from network.switch_record import Numbers, RecordStore
from network.types import Policy
from tests.unit.network.views import network, nic


def test_a_number_given_back_rests_while_others_are_left():
    numbers = Numbers(3)
    assert [numbers.take("a"), numbers.take("b"), numbers.take("a")] == [1, 2, 1]
    numbers.give_back_all_but(["b"])
    assert [numbers.take("c"), numbers.take("d")] == [3, 1]
    with pytest.raises(NumbersExhaustedError):
        numbers.take("e")


def test_numbers_survive_a_restart(tmp_path):
    with RecordStore(tmp_path).locked() as record:
        first = record.nic("a")
        record.mtus["a"] = 1400
    with RecordStore(tmp_path).locked() as record:
        assert (record.nic("a"), record.mtus) == (first, {"a": 1400})
        assert record.nic("b").zone != first.zone


def test_classes_keep_their_numbers_while_others_come_and_go(tmp_path):
    listed = network("a", 1, [nic("a", "1", "host-1")], acl=Policy("list"))
    in_group = replace(nic("b", "1", "host-2"), groups=("g2", "g1"))
    grouped = network("b", 2, [in_group, nic("b", "2", "host-1")], has_groups=True,
                      groups=(Policy("g1"), Policy("g2")))  # fmt: skip
    with RecordStore(tmp_path).locked() as record:
        first = record.number("host-1", [listed]).classes
    with RecordStore(tmp_path).locked() as record:
        both = record.number("host-1", [grouped, listed]).classes
    assert first == {"net-a": 1}
    assert both == {"net-a": 1, "net-b/": 2, "net-b/g1,g2": 3}


def test_a_number_given_out_before_a_failure_is_kept(tmp_path):
    store = RecordStore(tmp_path)
    given = []

    def fail_after_giving() -> None:
        with store.locked() as record:
            given.append(record.nic("a"))
            raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        fail_after_giving()
    with store.locked() as record:
        assert record.nic("b") not in given


def test_threads_and_processes_never_get_the_same_number(tmp_path):
    def take(names) -> None:
        store = RecordStore(tmp_path)
        for name in names:
            with store.locked() as record:
                record.nic(name)

    child = os.fork()
    if child == 0:
        take([f"c{n}" for n in range(30)])
        os._exit(0)
    threads = [threading.Thread(target=take, args=([f"{t}-{n}" for n in range(10)],)) for t in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.waitpid(child, 0)[1] == 0
    with RecordStore(tmp_path).locked() as record:
        assert len(set(record.nics.given.values())) == 50


def test_a_lost_set_of_flows_means_first_contact(tmp_path):
    store = RecordStore(tmp_path)
    assert store.applied() == FlowSet()
    store.remember(FlowSet(("flow",), ("group",)))
    assert store.applied() == FlowSet(("flow",), ("group",))
    (tmp_path / "flows.json").write_text("{")
    assert store.applied() == FlowSet()
