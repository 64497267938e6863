"""What a DevCloud shows of itself: a table of what runs and how to reach it, and exports for a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable

from cs import CloudStack, CloudStackException
from rich.console import Console
from rich.table import Table

from devcloud import hardware
from devcloud.cloud import DevCloud
from devcloud.paths import REPOSITORY
from devcloud.processes import Running

WIDTH = 140
PROGRAMS = REPOSITORY / ".venv/bin"


def exports(endpoint: str, root: dict[str, str], tenants: dict[str, dict[str, str]]) -> str:
    """Lines that a shell evaluates: CLOUDSTACK_* of the root administrator, TENANT1_KEY and so on of the others.

    The programs `pileus` and `cs` are found afterwards, behind those that the user has already.
    """
    values = {
        "CLOUDSTACK_ENDPOINT": endpoint,
        "CLOUDSTACK_KEY": root["apikey"],
        "CLOUDSTACK_SECRET": root["secretkey"],
    }
    for name, keys in tenants.items():
        values |= {f"{name.upper()}_KEY": keys["apikey"], f"{name.upper()}_SECRET": keys["secretkey"]}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    return "".join([*lines, f'export PATH="$PATH":{shlex.quote(str(PROGRAMS))}\n'])


def cloud_exports(cloud: DevCloud) -> str:
    """:raises FileNotFoundError: the cloud has not been brought up."""
    root = json.loads(cloud.root_keys_file.read_text())
    tenants = json.loads(cloud.site.seeded.read_text())
    return exports(cloud.management.endpoint, root, tenants)


def show(cloud: DevCloud) -> bool:
    """Print the table; True when everything runs."""
    table = Table("where", "what", "state")
    table.add_column("how to reach it", overflow="fold")
    well = _rows(table, "this machine", cloud.management.group.states(), _reach_management(cloud))
    for cell in cloud.existing_cells:
        reach = {
            "": f"nsenter --target {cell.pid} --all",
            "agent": str(cell.log("agent")),
            "libvirtd": f"virsh in it; underlay {cell.address}",
        }
        running = cell.states() if cell.pid else [Running("host", 0, 0)]
        well = _rows(table, cell.name, running, reach) and well
    _guest_rows(table, cloud)
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table if table.row_count else "No DevCloud runs.")
    if table.row_count:
        print(f'Keys for a shell: eval "$(./dev devcloud env)"    Logs: {cloud.management.group.directory}/log')
    return well and table.row_count > 0


def _reach_management(cloud: DevCloud) -> dict[str, str]:
    return {
        "api": cloud.management.endpoint,
        "postgresql": cloud.management.postgresql.url("pileus"),
        "redis": str(cloud.management.redis.socket),
        "outside-web": f"ip netns exec {cloud.site.outside} ...",
        "image-store": str(cloud.site.secondary),
        **hardware.reach(cloud.site),
    }


def _rows(table: Table, where: str, running: Iterable[Running], reach: dict[str, str]) -> bool:
    well = True
    for one in running:
        state = "runs" if one.pid else "[red]down[/red]"
        again = f", started {one.ended + 1} times" if one.ended else ""
        table.add_row(where, one.name, state + again, reach.get(one.name, reach.get("", "")))
        well, where = well and bool(one.pid), ""
    return well


def _guest_rows(table: Table, cloud: DevCloud) -> None:
    """The virtual machines as the API tells of them; none while it does not answer."""
    try:
        keys = json.loads(cloud.root_keys_file.read_text())
        client = CloudStack(cloud.management.endpoint, keys["apikey"], keys["secretkey"], timeout=10)
        guests = client.listVirtualMachines(listall="true").get("virtualmachine", [])
    except (OSError, CloudStackException):
        return
    for guest in sorted(guests, key=lambda one: (one["account"], one["name"])):
        place = f" on {guest['hostname']}" if "hostname" in guest else ""
        address = guest["nic"][0]["ipaddress"] if guest.get("nic") else "no address"
        logs = f"getConsoleOutput id={guest['id']}"
        table.add_row(guest["account"], guest["name"], guest["state"], f"{address}{place}; {logs}")
