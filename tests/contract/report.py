"""Pileus' commands against those of CloudStack 4.22: `python -m tests.contract.report` prints every difference."""

from __future__ import annotations

from manager.api.command import COMMANDS
from manager.api.commands import load_all
from tests.contract.cloudstack import facts

CLIENT_COMMANDS = 302
"""What libcloud, Ansible and Terraform call together; `clients` of the facts names those that are known by name."""


def known() -> list[str]:
    """The commands that are here and in CloudStack 4.22."""
    load_all()
    return sorted(set(COMMANDS) & set(facts()["commands"]))


def figures() -> str:
    there, here = facts(), known()
    every = len(there["commands"]) + len(there["later"])
    called = set(here) & set(there["clients"])
    return (
        f"{len(here)} of {every} commands of CloudStack ({len(there['commands'])} of them in 4.22), "
        f"{len(called)} of {CLIENT_COMMANDS} that libcloud, Ansible and Terraform call, "
        f"{len(set(COMMANDS) - set(here))} of our own"
    )


def absent(name: str) -> tuple[list[str], list[str]]:
    """Parameters and fields of CloudStack's command that the one here does not have."""
    parameters, response = facts()["commands"][name][6], facts()["commands"][name][5]
    ours = {parameter.lower() for parameter in COMMANDS[name].parameters}
    fields = set(facts()["responses"].get(response, ())) - set(COMMANDS[name].response.fields) - {"jobid", "jobstatus"}
    return sorted(p for p in parameters if p.lower() not in ours), sorted(fields)


def main() -> None:
    print(figures())
    for name in known():
        parameters, fields = absent(name)
        print(f"{name}: without the parameters {' '.join(parameters) or '-'}; fields {' '.join(fields) or '-'}")
    wanted = sorted(set(facts()["clients"]) - set(known()))
    print(f"{len(wanted)} commands that clients call are absent: {' '.join(wanted)}")


if __name__ == "__main__":
    main()
