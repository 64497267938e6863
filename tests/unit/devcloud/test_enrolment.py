"""How agents get their settings, what the shell is told, and what setting a machine up leaves alone."""

import json
import shlex
import stat
import subprocess
import sys

import pytest

from devcloud import enrolment, setup, status


@pytest.fixture
def manager():
    """Hands out join documents and counts them."""

    class Manager:
        def __init__(self):
            self.asked = []

        def join(self, agent_id):
            self.asked.append(agent_id)
            return {"agent_id": f"agent-of-{agent_id}", "broker_password": f"p{len(self.asked)}"}

    return Manager()


def test_settings_are_asked_for_once_and_stay_the_same(tmp_path, manager):
    path = tmp_path / "agent.json"
    enrolment.write_settings(path, "host-1", manager.join, {"hypervisor": "libvirt"})
    first = path.stat()
    enrolment.write_settings(path, "host-1", manager.join, {"hypervisor": "libvirt"})
    assert manager.asked == ["host-1"]
    assert path.stat().st_ino == first.st_ino, "the file was written again"
    assert stat.S_IMODE(first.st_mode) == 0o600
    assert json.loads(path.read_text()) == {
        "agent_id": "agent-of-host-1",
        "broker_password": "p1",
        "hypervisor": "libvirt",
    }


def test_new_host_or_changed_local_settings_start_the_agent_anew(tmp_path, manager):
    path = tmp_path / "agent.json"
    processes = []
    for host, local in (("host-1", {"a": 1}), ("host-1", {"a": 2}), ("host-2", {"a": 2}), ("host-2", {"a": 2})):
        enrolment.write_settings(path, host, manager.join, local)
        processes.append(enrolment.agent_process("agent", path))
    assert manager.asked == ["host-1", "host-2"]
    assert [processes[number] == processes[number + 1] for number in range(3)] == [False, False, True]


def test_exports_survive_the_shell():
    hostile = 'it\'s $(reboot) `x` "y"'
    text = status.exports(
        "http://127.0.0.1:8080/client/api",
        {"apikey": "root", "secretkey": hostile},
        {"tenant1": {"apikey": "one", "secretkey": "s1"}, "tenant2": {"apikey": "two", "secretkey": "s2"}},
    )
    values = dict(line.removeprefix("export ").split("=", 1) for line in text.splitlines())
    assert set(values) == {
        *("CLOUDSTACK_ENDPOINT", "CLOUDSTACK_KEY", "CLOUDSTACK_SECRET"),
        *("TENANT1_KEY", "TENANT1_SECRET", "TENANT2_KEY", "TENANT2_SECRET"),
        "PATH",
    }
    assert shlex.split(values["CLOUDSTACK_SECRET"]) == [hostile]


def test_program_of_the_shell_is_written_as_pip_would(tmp_path):
    (tmp_path / "python").symlink_to(sys.executable)
    setup.write_program(tmp_path)
    setup.write_program(tmp_path)
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(setup.REPOSITORY), "HOME": str(tmp_path)}
    done = subprocess.run(
        [tmp_path / "pileus", "--version"], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.startswith("pileus ")


@pytest.mark.parametrize("before", ["#!/bin/sh\nexit 0\n", None])
def test_machines_own_policy_is_back_after_packages_were_installed(tmp_path, monkeypatch, before):
    policy, kept = tmp_path / "policy-rc.d", tmp_path / "kept"
    monkeypatch.setattr(setup, "POLICY", policy)
    monkeypatch.setattr(setup, "KEPT_POLICY", kept)
    if before:
        policy.write_text(before)

    def install_and_fail():
        with setup.no_services():
            assert "exit 101" in policy.read_text()
            raise SystemExit(1)

    with pytest.raises(SystemExit):
        install_and_fail()
    assert (policy.read_text() if policy.exists() else None) == before
    assert not kept.exists()


def test_policy_of_a_killed_run_is_restored(tmp_path, monkeypatch):
    policy, kept = tmp_path / "policy-rc.d", tmp_path / "kept"
    monkeypatch.setattr(setup, "POLICY", policy)
    monkeypatch.setattr(setup, "KEPT_POLICY", kept)
    kept.write_text("the machine's own")
    policy.write_text(setup.NO_SERVICES)
    with setup.no_services():
        pass
    assert policy.read_text() == "the machine's own"


def test_lock_pins_every_package_with_a_hash_and_names_no_index():
    lines = setup.LOCK.read_text().splitlines()
    pinned = [line for line in lines if line and not line.startswith((" ", "#"))]
    assert len(pinned) > 50
    assert all("==" in line and line.endswith("\\") for line in pinned)
    assert not any("://" in line for line in lines)
