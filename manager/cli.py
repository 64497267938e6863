"""The operator's command on a management server: keys, schema, first accounts, enrolment, workflows."""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select

from agents.envelope import make_key
from manager import join, migrate
from manager.api import attempts, docs, sessions
from manager.db import epoch, transaction
from manager.identity_seed import keys_of
from manager.identity_seed import seed as seed_identity
from manager.messages import ring
from manager.models import (
    Account,
    Agent,
    AgentCommandRow,
    Domain,
    EventRow,
    Host,
    ImageStore,
    SecondFactor,
    User,
    WorkflowRow,
)
from manager.seed import seed as seed_catalog
from manager.workflows.ending import end

KEY_BYTES = 32


def init_keys(directory: Path) -> None:
    """Make secret.key and signing.pem in `directory` where they are missing; they are never overwritten."""
    directory.mkdir(parents=True, exist_ok=True)
    secret = directory / "secret.key"
    if not secret.exists():
        part = secret.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_bytes(base64.b64encode(os.urandom(KEY_BYTES)))
        part.rename(secret)
    make_key(directory / "signing.pem")


def bootstrap(_arguments: argparse.Namespace) -> None:
    """Seed what every cloud has, and print the root administrator's keys as JSON."""
    with transaction() as session:
        seed_catalog(session)
    with transaction() as session:
        key = keys_of(session, seed_identity(session).admin)
        print(json.dumps({"apikey": key.api_key, "secretkey": key.secret_key}))


def join_document(arguments: argparse.Namespace) -> None:
    """Print what an agent needs to join, as JSON: give it to that host alone, it opens the host's broker account."""
    for subject_id in arguments.id:
        print(json.dumps(_document(subject_id)))


def _document(subject_id: str) -> dict[str, str]:
    agent_id = _agent_id(subject_id)
    with transaction() as session:
        return join.join_document(session.get_one(Agent, agent_id), subject_id)


def _agent_id(subject_id: str) -> str:
    with transaction() as session:
        for model in (Host, ImageStore):
            agent_id = session.scalar(select(model.agent_id).filter_by(id=subject_id, removed=None))
            if agent_id is not None:
                return agent_id
    sys.exit(f"No host or image store has the id {subject_id}.")


def show_workflows(_arguments: argparse.Namespace) -> None:
    """List open workflows: what they wait for, and why they are stuck if they are."""
    with transaction() as session:
        rows = session.scalars(select(WorkflowRow).where(WorkflowRow.holds.is_not(None))).all()
        for row in rows:
            asked = session.scalars(select(AgentCommandRow.name).filter_by(workflow_id=row.id, status="open")).all()
            print(f"{row.id}  {row.name:20} {row.status:8} step {row.position} undoing={row.undoing} "
                  f"waits for {', '.join(asked) or row.waiting_for or 'nothing'}  {row.error or ''}")  # fmt: skip


def retry_workflow(arguments: argparse.Namespace) -> None:
    """Take a stuck workflow up again where its undo failed."""
    with transaction() as session:
        row = session.get_one(WorkflowRow, arguments.id)
        if row.status != "stuck":
            sys.exit(f"Workflow {row.id} is {row.status}, not stuck.")
        row.status, row.attempts, row.ended = "running", 0, None
        row.wake_at = epoch()
        ring(session, row.id)


def give_up_workflow(arguments: argparse.Namespace) -> None:
    """Close a stuck workflow as failed: whatever it left is then shown by listDrift and listOrphans."""
    with transaction() as session:
        row = session.get_one(WorkflowRow, arguments.id)
        if row.status != "stuck":
            sys.exit(f"Workflow {row.id} is {row.status}, not stuck.")
        end(session, row, "failed")


def admit(arguments: argparse.Namespace) -> None:
    """Let in a user who cannot log in: wrong attempts are forgotten, and the second factor is taken away."""
    path = "/" + "".join(f"{name}/" for name in arguments.domain.strip("/").split("/") if name)
    query = select(User).join(Account, Account.id == User.account_id).join(Domain, Domain.id == Account.domain_id)
    with transaction() as session:
        named = User.username == arguments.username, Domain.path == path
        user = session.scalar(query.where(*named, User.removed.is_(None), Domain.removed.is_(None)))
        if user is None:
            sys.exit(f"There is no user {arguments.username} in the domain ROOT{path.rstrip('/')}.")
        attempts.forget(session, user.id)
        session.execute(delete(SecondFactor).where(SecondFactor.user_id == user.id))
        sessions.close_all(session, user.id)
        told = f"admit: the operator took away the second factor of User {user.id}"
        about = {"resource_type": "User", "resource_id": user.id, "resource_name": user.username}
        session.add(EventRow(type="USER.UPDATE", description=told, account_id=user.account_id, **about))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m manager.cli", description=__doc__)
    commands = made.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[Any], None], *operands: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=(run.__doc__ or "").split("\n", maxsplit=1)[0])
        for operand in operands:
            sub.add_argument(operand)
        sub.set_defaults(run=run)
        return sub

    add("init-keys", _run_init_keys, "directory")
    add("migrate", _run_migrate)
    add("bootstrap", bootstrap).add_argument("--json", action="store_true", help="the only form there is")
    add("join-document", join_document).add_argument("id", nargs="+", help="hosts and image stores; a line for each")
    add("workflows", show_workflows)
    add("workflow-retry", retry_workflow, "id")
    add("workflow-give-up", give_up_workflow, "id")
    admitting = add("admit", admit, "username")
    admitting.add_argument("domain", nargs="?", default="/", help="the path of the user's domain; ROOT when absent")
    add("docs", write_docs)
    return made


def write_docs(_arguments: argparse.Namespace) -> None:
    """Write the generated part of api_docs/ from the API's declarations."""
    docs.write()


def _run_init_keys(arguments: argparse.Namespace) -> None:
    """Make the key files in a directory where they are missing."""
    init_keys(Path(arguments.directory))


def _run_migrate(_arguments: argparse.Namespace) -> None:
    """Bring the database to the present schema."""
    migrate.upgrade()


def main() -> None:
    arguments = parser().parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
