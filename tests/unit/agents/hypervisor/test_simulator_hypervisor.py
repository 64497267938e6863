"""What the simulator adds to the contract: survival of its process, size, and injected failures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from agents.contract import VmSpec
from agents.host.hypervisor.base import DomainRefused, HypervisorError, HypervisorUnavailable, StaleDomain
from agents.host.hypervisor.simulator import SimulatorHypervisor, SimulatorSettings

START_MANY = """
import sys, uuid
from agents.contract import VmSpec
from agents.host.hypervisor.simulator import SimulatorHypervisor, SimulatorSettings

hypervisor = SimulatorHypervisor(SimulatorSettings(sys.argv[1]))
while True:
    vm_id = str(uuid.uuid4())
    hypervisor.start(VmSpec(vm_id, vm_id, 1, 1, 1), ())
    print(vm_id, flush=True)
"""


def vm(**changes: object) -> VmSpec:
    vm_id = str(uuid.uuid4())
    return VmSpec(**{"id": vm_id, "instance_name": f"i-{vm_id}", "generation": 1, "cpus": 1, "memory": 1, **changes})


def simulator(tmp_path: Path, **settings: object) -> SimulatorHypervisor:
    return SimulatorHypervisor(SimulatorSettings(str(tmp_path), **settings))


def test_domains_survive_a_killed_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START_MANY, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        started = [process.stdout.readline().strip() for _ in range(50)]
        process.send_signal(signal.SIGKILL)
    hypervisor = simulator(tmp_path)
    assert set(started) <= {facts.vm_id for facts in hypervisor.domains() if facts.state == "running"}
    hypervisor.close()


def test_thousands_of_domains(tmp_path: Path) -> None:
    hypervisor = simulator(tmp_path)
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: [hypervisor.start(vm(), ()) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hypervisor.domains()) == 4000
    assert time.monotonic() - began < 10
    hypervisor.close()


def test_failures_come_before_and_after_the_effect_and_repeat_with_the_seed(tmp_path: Path) -> None:
    outcomes = []
    for run in range(2):
        hypervisor = simulator(tmp_path / str(run), unavailable_rate=0.5, seed=7)
        results = []
        for _ in range(60):
            one = vm()
            try:
                hypervisor.start(one, ())
                error = False
            except HypervisorUnavailable:
                error = True
            results.append((error, any(facts.vm_id == one.id for facts in hypervisor.domains())))
        hypervisor.close()
        outcomes.append(results)
    assert outcomes[0] == outcomes[1]
    assert set(outcomes[0]) == {(False, True), (True, True), (True, False)}


def test_refusals_have_no_effect(tmp_path: Path) -> None:
    hypervisor = simulator(tmp_path, refused_rate=1.0)
    with pytest.raises(DomainRefused) as caught:
        hypervisor.start(vm(), ())
    assert not caught.value.retryable
    assert hypervisor.domains() == []
    hypervisor.close()


def test_latency(tmp_path: Path) -> None:
    hypervisor = simulator(tmp_path, latency_seconds=0.1)
    began = time.monotonic()
    hypervisor.start(vm(), ())
    assert time.monotonic() - began >= 0.1
    hypervisor.close()


def test_the_console_shows_each_boot(tmp_path: Path) -> None:
    hypervisor = simulator(tmp_path)
    one = vm(instance_name="i-1")
    hypervisor.start(one, ())
    hypervisor.reboot(one.id, False, 1)
    assert hypervisor.console(one.id, 1000) == "pileus simulator: boot 1 of i-1\npileus simulator: boot 2 of i-1\n"
    assert hypervisor.console(one.id, 4) == "i-1\n"
    hypervisor.stop(one.id, True, 0)
    assert hypervisor.console(one.id, 1000).count("boot") == 2
    hypervisor.forget(one.id)
    assert hypervisor.console(one.id, 1000) == ""
    hypervisor.close()


def test_a_paused_guest_goes_on_in_its_boot_unless_stale(tmp_path: Path) -> None:
    hypervisor = simulator(tmp_path)
    one = vm(generation=2)
    hypervisor.start(one, ())
    hypervisor.set_state(one.id, "paused")
    with pytest.raises(StaleDomain):
        hypervisor.start(vm(id=one.id, generation=3), ())
    hypervisor.start(one, ())
    assert hypervisor.console(one.id, 1000).count("boot") == 1
    assert issubclass(StaleDomain, HypervisorError)
    hypervisor.close()
