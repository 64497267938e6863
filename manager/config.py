"""Settings of a management process, from the environment (PILEUS_*) and nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a management process must know before it can reach its database; everything else is in the database.

    `secret_key_file` holds 32 bytes in base64 and seals secret columns; `signing_key_file` holds the Ed25519
    private key (PEM) that signs commands to agents. Both are made by `manager.cli init-keys`. `server_name` is that of
    the management server, alike in all its processes; the machine's name when empty. Programs of extensions are found
    in `extensions_directory` and run as `extensions_user`, or as this process's own user where that is empty.
    """

    model_config = SettingsConfigDict(env_prefix="PILEUS_")

    database_url: str = "sqlite:////var/lib/pileus/pileus.db"
    broker_url: str = "redis://127.0.0.1:6379/0"
    agent_broker_url: str = ""
    secret_key_file: Path = Path("/etc/pileus/secret.key")
    signing_key_file: Path = Path("/etc/pileus/signing.pem")
    sweep_seconds: float = 5.0
    server_name: str = ""
    extensions_directory: Path = Path("/usr/share/pileus/extensions")
    extensions_user: str = ""
    log_level: str = "INFO"


@cache
def settings() -> Settings:
    return Settings()
