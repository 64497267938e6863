"""The management server as this machine runs it: its database and broker, API, orchestrator, and their settings."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from devcloud.paths import REPOSITORY
from devcloud.processes import ProcessGroup, output, wait_until
from devcloud.services import PostgreSQL, Redis
from devcloud.supervisor import Process

DATABASE = "pileus"
SERVER_ERROR = 500


@dataclass(frozen=True)
class Keys:
    """What signs a user's requests."""

    apikey: str
    secretkey: str


@dataclass
class Management:
    """One management server below `state`, with its API on `port`; '' as `database` means a PostgreSQL of its own.

    `extra` runs beside it; `settings` are further settings of its processes, as environment variables.
    """

    state: Path
    port: int
    database: str = ""
    extra: list[Process] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/client/api"

    @property
    def secrets(self) -> Path:
        return self.state / "secrets"

    @cached_property
    def group(self) -> ProcessGroup:
        return ProcessGroup(self.state / "management")

    @cached_property
    def postgresql(self) -> PostgreSQL:
        return PostgreSQL(self.state / "postgresql")

    @cached_property
    def redis(self) -> Redis:
        return Redis(self.state / "redis", password=self._kept_secret("redis"))

    def start_services(self) -> None:
        """Database and broker; both answer when this returns."""
        self.redis.prepare()
        if not self.database:
            self.postgresql.prepare()
        self.group.apply(self._wanted(with_servers=self._ran_before()))
        self.redis.wait()
        if not self.database:
            self.postgresql.wait()
            self.postgresql.create(DATABASE)

    def migrate(self) -> None:
        if not all((self.secrets / name).exists() for name in ("secret.key", "signing.pem")):
            self.cli("init-keys", str(self.secrets))
        self.cli("migrate")

    def bootstrap(self) -> Keys:
        """Keys of the root administrator, who is made when he is missing."""
        made = json.loads(self.cli("bootstrap", "--json").splitlines()[-1])
        return Keys(made["apikey"], made["secretkey"])

    def start_servers(self) -> None:
        """API and orchestrator; the API answers when this returns."""
        self._servers_started.touch()
        self.group.apply(self._wanted(with_servers=True))
        wait_until(self._answers, f"API at {self.endpoint}, with its log in {self.group.log('api')},", 60.0)

    def apply(self) -> None:
        """Run what is wanted now; for a change of `extra`."""
        self.group.apply(self._wanted(with_servers=True))

    def join_document(self, subject_id: str) -> dict[str, Any]:
        """What the agent of a host or image store must know to be believed and to believe."""
        return self.join_documents([subject_id])[0]

    def join_documents(self, subject_ids: list[str]) -> list[dict[str, Any]]:
        """As join_document, of many at once."""
        return [json.loads(line) for line in self.cli("join-document", *subject_ids).splitlines() if line[:1] == "{"]

    def cli(self, *words: str) -> str:
        """What the operator's command prints. :raises CommandError: it failed."""
        return output([sys.executable, "-m", "manager.cli", *words], env=self.environment())

    def environment(self) -> dict[str, str]:
        """Settings of every process of the management server."""
        return {
            "PILEUS_DATABASE_URL": self.database or self.postgresql.url(DATABASE),
            "PILEUS_BROKER_URL": self.redis.broker_url(),
            "PILEUS_AGENT_BROKER_URL": self.redis.anonymous_url,
            "PILEUS_SECRET_KEY_FILE": str(self.secrets / "secret.key"),
            "PILEUS_SIGNING_KEY_FILE": str(self.secrets / "signing.pem"),
            **self.settings,
        }

    def _wanted(self, *, with_servers: bool) -> list[Process]:
        services = [self.redis.process()]
        if not self.database:
            services.append(self.postgresql.process())
        return [*services, *self.extra, *(self._servers() if with_servers else [])]

    def api(self, port: int, *, workers: int = 2, name: str = "api") -> Process:
        """The API on `port`."""
        gunicorn = [
            str(Path(sys.executable).parent / "gunicorn"),
            *("--worker-class", "gthread", "--workers", str(workers), "--threads", "8"),
            *("--bind", f"127.0.0.1:{port}", "--graceful-timeout", "5"),
            *("--keep-alive", "65"),  # longer than clients keep an idle connection: else they find it closed
            "--no-control-socket",  # it would be one for all of a user's servers, and stay behind
            "manager.app:serve()",
        ]
        return Process(name, gunicorn, self.environment(), directory=str(REPOSITORY))

    def _servers(self) -> list[Process]:
        orchestrator = [sys.executable, "-m", "manager.orchestrator"]
        return [
            self.api(self.port),
            Process("orchestrator", orchestrator, self.environment(), directory=str(REPOSITORY)),
        ]

    @property
    def _servers_started(self) -> Path:
        return self.state / "servers-started"

    def _ran_before(self) -> bool:
        """Whether the servers belong to the wanted state already, so that bringing it up again leaves them alone."""
        return self._servers_started.exists()

    def _answers(self) -> bool:
        try:
            return requests.get(self.endpoint, timeout=5).status_code < SERVER_ERROR
        except requests.RequestException:
            return False

    def _kept_secret(self, name: str) -> str:
        """A random password that is made once and kept in a file that only root reads."""
        self.secrets.mkdir(parents=True, exist_ok=True)
        self.secrets.chmod(0o700)
        path = self.secrets / f"{name}.password"
        if not path.exists():
            write_secret(path, secrets.token_urlsafe(24))
        return path.read_text()


def write_secret(path: Path, text: str) -> None:
    """Write `text` whole or not at all, readable by its owner only."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
    fresh.replace(path)
