"""The database servers, Redis, and the supervision of processes, all real."""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
import sqlalchemy as sa

from devcloud.management import Management
from devcloud.processes import MARK, CommandError, ProcessGroup, end, output, wait_until
from devcloud.services import MariaDB, PostgreSQL, Redis
from devcloud.supervisor import Process, start_time

SEND_AND_TAKE = """
import sys
from celery import Celery
app = Celery(broker=sys.argv[1])
app.conf.task_ignore_result = True
app.send_task("ring", args=["w1"], queue="orchestrator")
with app.connection() as connection:
    message = connection.SimpleQueue("orchestrator").get(timeout=5)
    message.ack()
print(message.headers["task"])
"""
PASSWORD = "a/b:c@d"


@pytest.fixture
def place():
    """A directory with a short path that the servers' accounts may pass."""
    directory = Path(tempfile.mkdtemp(prefix="plt-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def serve():
    """Starts services and stops them at the end."""
    started = []

    def start(service):
        started.append(service)
        service.start()
        return service

    yield start
    for service in started:
        service.stop()


@contextmanager
def connected(url):
    engine = sa.create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def scalar(url, statement):
    with connected(url) as connection:
        return connection.execute(sa.text(statement)).scalar()


def run(url, statement):
    with connected(url) as connection:
        connection.execute(sa.text(statement))


@pytest.mark.parametrize("kind", [PostgreSQL, MariaDB])
@pytest.mark.parametrize("fast", [False, True])
def test_database_keeps_its_rows_over_a_restart(place, serve, kind, fast):
    service = serve(kind(place / "db", fast=fast))
    service.create("cloud")
    service.create("cloud")
    run(service.url("cloud"), "CREATE TABLE vm (name VARCHAR(20))")
    run(service.url("cloud"), "INSERT INTO vm VALUES ('naïve ☁')")
    pid = (place / "db/started").read_text()
    service.start()
    assert (place / "db/started").read_text() == pid, "start of a running server started another"
    service.stop()
    assert not service.answers()
    service.start()
    assert scalar(service.url("cloud"), "SELECT name FROM vm") == "naïve ☁"
    service.drop("cloud")
    service.drop("cloud")
    with pytest.raises(sa.exc.OperationalError):
        scalar(service.url("cloud"), "SELECT 1")


def test_databases_isolate_and_compare_alike(place, serve):
    postgresql, mariadb = serve(PostgreSQL(place / "pg", fast=True)), serve(MariaDB(place / "my", fast=True))
    for service, isolation in ((postgresql, "SHOW transaction_isolation"), (mariadb, "SELECT @@tx_isolation")):
        service.create("cloud")
        url = service.url("cloud")
        assert scalar(url, isolation).lower().replace("-", " ") == "read committed"
        run(url, "CREATE TABLE names (name VARCHAR(20) UNIQUE)")
        run(url, "INSERT INTO names VALUES ('web')")
        run(url, "INSERT INTO names VALUES ('Web')")
        with pytest.raises(sa.exc.IntegrityError):
            run(url, "INSERT INTO names VALUES ('web')")


def test_second_handle_finds_and_stops_a_running_server(place, serve):
    first = serve(Redis(place / "redis"))
    pid = int((place / "redis/started").read_text().split()[0])
    second = Redis(place / "redis")
    second.start()
    assert int((place / "redis/started").read_text().split()[0]) == pid
    second.stop()
    assert not start_time(pid)
    first.stop()


def test_too_long_a_path_is_refused_at_once():
    with pytest.raises(ValueError, match="too long"):
        Redis(Path("/tmp") / ("x" * 100))


def test_celery_speaks_through_the_broker_url_and_manager_is_bounded(place, serve):
    service = serve(Redis(place / "redis", password=PASSWORD))
    assert output([sys.executable, "-c", SEND_AND_TAKE, service.broker_url()]).strip() == "ring"
    with redis.Redis.from_url(service.url()) as manager:
        with pytest.raises(redis.exceptions.NoPermissionError):
            manager.flushall()
        manager.execute_command("ACL", "SETUSER", "host", "on", ">x", "~agent.1")
        manager.execute_command("ACL", "SAVE")
    with redis.Redis(unix_socket_path=str(service.socket)) as nobody, pytest.raises(redis.AuthenticationError):
        nobody.ping()


def test_redis_keeps_keys_and_accounts_over_a_restart_and_can_lose_keys(place, serve):
    service = serve(Redis(place / "redis", password=PASSWORD))
    with redis.Redis.from_url(service.url()) as manager:
        manager.lpush("agent.1", "command")
        manager.execute_command("ACL", "SETUSER", "host", "on", ">x", "~agent.1")
        manager.execute_command("ACL", "SAVE")
    service.stop()
    service.start()
    with redis.Redis.from_url(service.url()) as manager:
        assert manager.llen("agent.1") == 1
        assert b"host" in manager.execute_command("ACL", "USERS")
        service.flush()
        assert manager.llen("agent.1") == 0


@pytest.fixture
def group(place):
    processes = ProcessGroup(place / "group")
    yield processes
    processes.stop()


def sleeper(name, **more):
    return Process(name, ["sleep", "1000"], **more)


def pids(group):
    return {one.name: one.pid for one in group.states()}


def wait_for(group, *names):
    wait_until(lambda: all(pids(group).get(name) for name in names), f"{names}", 10)
    return pids(group)


def test_applying_the_same_changes_nothing_and_a_change_only_its_own(group):
    group.apply([sleeper("a"), sleeper("b")])
    before = wait_for(group, "a", "b")
    group.apply([sleeper("a"), sleeper("b")])
    time.sleep(0.3)
    assert pids(group) == before
    group.apply([sleeper("a"), sleeper("b", env={"X": "1"}), sleeper("c")])
    after = wait_for(group, "a", "b", "c")
    wait_until(lambda: pids(group)["b"] not in {0, before["b"]}, "the new b", 10)
    assert after["a"] == before["a"]
    assert not start_time(before["b"])
    group.apply([sleeper("c")])
    wait_until(lambda: set(pids(group)) == {"c"}, "the end of a and b", 10)
    assert not start_time(before["a"])


def test_killed_process_starts_again(group):
    group.apply([sleeper("a")])
    before = wait_for(group, "a")["a"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: pids(group)["a"] not in {0, before}, "the restart", 10)
    assert group.states()[0].ended == 1
    assert "ended with code -9" in group.log("a").read_text()


def test_process_waits_for_what_it_needs(group, place):
    group.apply([sleeper("late", needs=str(place / "socket"))])
    time.sleep(0.4)
    assert pids(group).get("late") == 0
    (place / "socket").touch()
    wait_for(group, "late")


def test_program_that_cannot_start_is_tried_again_and_told(group):
    group.apply([Process("none", ["/nowhere/program"])])
    wait_until(lambda: "cannot start" in _text(group.log("none")), "the log", 10)
    wait_until(lambda: pids(group)["none"] == 0, "the end of the attempt", 10)


def _text(path):
    return path.read_text() if path.exists() else ""


def test_stop_and_repair_after_the_supervisor_was_killed(group):
    spawner = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '1000'], start_new_session=True)"]
    group.apply([sleeper("a"), Process("spawner", spawner)])
    wait_for(group, "a", "spawner")
    wait_until(lambda: len(marked(group)) == 3, "the grandchild", 10)
    os.kill(group.pid, signal.SIGKILL)
    wait_until(lambda: not group.pid, "the end of the supervisor", 5)
    old = marked(group)
    assert len(old) == 3
    group.apply([sleeper("a")])
    wait_for(group, "a")
    assert not any(start_time(pid) for pid in old)
    group.stop()
    assert marked(group) == []
    assert group.pid == 0


def marked(group):
    """Pids of the processes, but the supervisor, that carry the group's mark."""
    mark = f"{MARK}={group.directory}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return [pid for pid in found if start_time(pid)]


def test_end_leaves_a_later_process_of_the_same_pid_alone():
    end(os.getpid(), start_time(os.getpid()) - 1)


def test_end_of_what_never_started_reaches_nobody():
    end(0, 0)  # kill(2) takes pid 0 for the caller's own group


def test_failed_command_is_told_with_its_output():
    with pytest.raises(CommandError, match="no such thing"):
        output(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_management_services_come_up_twice_and_only_root_reads_the_secrets(place):
    management = Management(place, 18099)
    try:
        management.start_services()
        before = {one.name: one.pid for one in management.group.states()}
        assert set(before) == {"redis", "postgresql"}
        Management(place, 18099).start_services()
        assert {one.name: one.pid for one in management.group.states()} == before
        assert scalar(management.environment()["PILEUS_DATABASE_URL"], "SELECT 1") == 1
        for secret in (place / "secrets/redis.password", place / "management/processes.json"):
            assert secret.stat().st_mode & 0o077 == 0
        assert json.loads((place / "management/processes.json").read_text())
    finally:
        management.group.stop()
