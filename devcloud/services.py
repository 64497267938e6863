"""PostgreSQL, MariaDB and Redis from Debian's packages, each in a private directory on a unix socket.

`start` and `stop` run one for as long as a test needs it; DevCloud prepares it and gives `process` to its supervisor.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from urllib.parse import quote

from devcloud.processes import CommandError, end, output, recorded, wait_until
from devcloud.supervisor import Process, start_time, write_atomically

LONGEST_SOCKET_PATH = 107
LONGEST_SOCKET_NAME = ".s.PGSQL.5432"
POSTGRESQL_PROGRAMS = Path("/usr/lib/postgresql")


class Service(ABC):
    """A server in `directory`, which is made when it is missing and keeps its data over `stop` and `start`.

    As root the server runs as the `account` of its package, so every parent of `directory` must let that pass;
    otherwise it runs as the caller. With `fast` it gives up durability and ends with the thread that started it.
    """

    account: str
    name: str

    def __init__(self, directory: Path, *, fast: bool = False) -> None:
        self.directory = directory
        self.fast = fast
        self._started: subprocess.Popen[bytes] | None = None
        if len(f"{directory}/{LONGEST_SOCKET_NAME}") > LONGEST_SOCKET_PATH:
            raise ValueError(f"The path {directory} is too long for a socket below it.")

    @property
    def user(self) -> str:
        return self.account if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name

    @abstractmethod
    def prepare(self) -> None:
        """Make the directory ready for `process`; what is there is left alone."""

    @abstractmethod
    def process(self) -> Process: ...

    @abstractmethod
    def answers(self) -> bool: ...

    def start(self) -> None:
        """Run the server and wait until it answers; one that runs is left alone."""
        self.prepare()
        if not recorded(self._pid_file)[0]:
            self._spawn()
        self.wait()

    def wait(self) -> None:
        """:raises NotReadyError: it does not answer within half a minute"""
        wait_until(self.answers, f"{self.name} in {self.directory}", 30.0)

    def stop(self) -> None:
        """End the server; one that does not run is no error."""
        pid, started = recorded(self._pid_file)
        if self._started is not None:
            self._started.send_signal(signal.Signals[self.process().stop])
            try:
                self._started.wait(15.0)
            except subprocess.TimeoutExpired:
                self._started.kill()
                self._started.wait()
            self._started = None
        elif pid:
            end(pid, started, number=signal.Signals[self.process().stop])
        self._pid_file.unlink(missing_ok=True)

    @property
    def _pid_file(self) -> Path:
        return self.directory / "started"

    def _spawn(self) -> None:
        process = self.process()
        argv = ["setpriv", "--pdeathsig", "KILL", *process.argv] if self.fast else process.argv
        with (self.directory / "log").open("ab") as log:
            self._started = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=process.user or None,
                group=process.user or None,
                extra_groups=[] if process.user else None,
                start_new_session=True,
            )
        self._pid_file.write_text(f"{self._started.pid} {start_time(self._started.pid)}")

    def _make_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        if os.geteuid() == 0:
            shutil.chown(self.directory, self.account, self.account)

    def _as_account(self) -> str:
        """The user for `Process`: '' when it is the caller."""
        return self.account if os.geteuid() == 0 else ""


class PostgreSQL(Service):
    """The newest PostgreSQL that is installed; its role `pileus` may do all, by the socket, without a password."""

    account = "postgres"
    name = "PostgreSQL"

    def prepare(self) -> None:
        self._make_directory()
        data = self.directory / "data"
        if (data / "PG_VERSION").exists() and (data / "postgresql.conf").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        settings = ["--username=pileus", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        sync = ["--no-sync"] if self.fast else []
        output([self._program("initdb"), f"--pgdata={data}", *settings, *sync], user=self._as_account() or None)

    def process(self) -> Process:
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.directory), "max_connections": "200"}
        if self.fast:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        argv = [self._program("postgres"), "-D", str(self.directory / "data"), *arguments]
        return Process("postgresql", argv, user=self._as_account(), stop="SIGINT")

    def answers(self) -> bool:
        return _succeeds([self._program("pg_isready"), "-q", "-h", str(self.directory), "-U", "pileus"])

    def create(self, database: str) -> None:
        """Make an empty database; one that is there is left alone."""
        if database not in self._sql("SELECT datname FROM pg_database").split():
            self._sql(f'CREATE DATABASE "{database}"')

    def drop(self, database: str) -> None:
        self._sql(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://pileus@/{database}?host={quote(str(self.directory))}"

    def _sql(self, statement: str) -> str:
        where = ["-h", str(self.directory), "-U", "pileus", "-d", "postgres"]
        return output([self._program("psql"), "-XAtq", *where, "-c", statement])

    @staticmethod
    def _program(name: str) -> str:
        found = sorted(POSTGRESQL_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
        return str(found[-1]) if found else name


class MariaDB(Service):
    """MariaDB at READ COMMITTED with utf8mb4 compared byte by byte, as PostgreSQL compares; user root by the socket."""

    account = "mysql"
    name = "MariaDB"

    def prepare(self) -> None:
        self._make_directory()
        data = self.directory / "data"
        if (self.directory / "installed").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        settings = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        # In the machine's own /tmp, whoever tidies up there takes away files that it is at work on.
        settings += [f"--tmpdir={self.directory}"]
        argv = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", *settings]
        output(argv, user=self._as_account() or None)
        (self.directory / "installed").touch()

    def process(self) -> Process:
        settings = [
            f"--datadir={self.directory / 'data'}",
            f"--socket={self._socket}",
            f"--pid-file={self.directory / 'mariadbd.pid'}",
            "--skip-networking",
            "--transaction-isolation=READ-COMMITTED",
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_bin",
            "--max-connections=200",
            f"--tmpdir={self.directory}",
        ]
        if self.fast:
            settings += ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--sync-binlog=0"]
        return Process("mariadb", ["mariadbd", "--no-defaults", *settings], user=self._as_account())

    def answers(self) -> bool:
        return _succeeds(["mariadb-admin", "--no-defaults", f"--socket={self._socket}", "--user=root", "ping"])

    def create(self, database: str) -> None:
        """Make an empty database; one that is there is left alone."""
        self._sql(f"CREATE DATABASE IF NOT EXISTS `{database}`")

    def drop(self, database: str) -> None:
        self._sql(f"DROP DATABASE IF EXISTS `{database}`")

    def url(self, database: str) -> str:
        return f"mysql+mysqldb://root@/{database}?unix_socket={quote(str(self._socket))}&charset=utf8mb4"

    @property
    def _socket(self) -> Path:
        return self.directory / "mariadb.sock"

    def _sql(self, statement: str) -> str:
        return output(["mariadb", "--no-defaults", f"--socket={self._socket}", "--user=root", "-e", statement])


class Redis(Service):
    """Redis that appends every write to disk and evicts nothing.

    With `password` the user `manager` has it, the default user is off, and the accounts that are made later by
    ACL SETUSER and ACL SAVE stay; without, everybody who reaches the socket may do all.
    """

    account = "redis"
    name = "Redis"
    manager_rules = "~* &* +@all -@dangerous +acl +info +client +config|get +keys"

    def __init__(self, directory: Path, *, fast: bool = False, password: str = "") -> None:
        super().__init__(directory, fast=fast)
        self.password = password

    @property
    def socket(self) -> Path:
        return self.directory / "redis.sock"

    def prepare(self) -> None:
        self._make_directory()
        lines = [
            "port 0",
            f"unixsocket {self.socket}",
            "unixsocketperm 700",
            f"dir {self.directory}",
            f"appendonly {'no' if self.fast else 'yes'}",
            "maxmemory-policy noeviction",
            "daemonize no",
            'save ""',
        ]
        if self.password:
            lines.append(f"aclfile {self._accounts}")
            self._prepare_accounts()
        write_atomically(self.directory / "redis.conf", "\n".join(lines) + "\n")

    def process(self) -> Process:
        return Process("redis", ["redis-server", str(self.directory / "redis.conf")], user=self._as_account())

    def answers(self) -> bool:
        return "PONG" in self._ask("PING")

    def url(self, database: int = 0) -> str:
        """For redis-py; see `broker_url` for Celery."""
        return f"unix://{self._login}{self.socket}?db={database}"

    def broker_url(self, database: int = 0) -> str:
        """For kombu, which takes the number of the database as its virtual host; its parse_url fails on that part."""
        number = f"?virtual_host={database}" if database else ""
        return f"redis+socket://{self._login}{self.socket}{number}"

    @property
    def anonymous_url(self) -> str:
        """The broker's URL for agents, each of which adds an account of its own."""
        return f"redis+socket://{self.socket}"

    def flush(self) -> None:
        """Lose everything but the accounts, as a Redis that came back without its disk."""
        self._ask("FLUSHALL")

    @property
    def _accounts(self) -> Path:
        return self.directory / "users.acl"

    @property
    def _login(self) -> str:
        return f"manager:{quote(self.password, safe='')}@" if self.password else ""

    def _prepare_accounts(self) -> None:
        kept = self._accounts.read_text().splitlines() if self._accounts.exists() else []
        others = [line for line in kept if line.split()[1:2] not in (["manager"], ["default"], ["operator"])]
        ours = [
            "user default reset off",
            f"user manager reset on >{self.password} {self.manager_rules}",
            f"user operator reset on >{self.password} ~* &* +@all",
        ]
        self._accounts.touch(mode=0o600)
        write_atomically(self._accounts, "\n".join([*ours, *others]) + "\n")
        self._accounts.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(self._accounts, self.account, self.account)

    def _ask(self, *words: str) -> str:
        env = {"REDISCLI_AUTH": self.password} if self.password else {}
        login = ["--user", "operator"] if self.password else []
        try:
            return output(["redis-cli", "-s", str(self.socket), *login, "--no-auth-warning", *words], env=env)
        except CommandError:
            return ""


def _succeeds(argv: list[str]) -> bool:
    done = subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0
