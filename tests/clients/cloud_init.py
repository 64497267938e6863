"""What cloud-init's CloudStack data source finds out, as JSON: `python cloud_init.py FOLDER`, inside a guest.

Run by a Python that has cloud-init's packages, with PYTHONPATH naming cloud-init itself; FOLDER takes its files.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cloudinit import distros, helpers
from cloudinit.sources import DataSourceCloudStack


def main(folder: str) -> None:
    paths = helpers.Paths({"cloud_dir": folder, "run_dir": folder})
    distro = distros.fetch("debian")("debian", {}, paths)
    source = DataSourceCloudStack.DataSourceCloudStack({}, distro, paths)
    source.url_max_wait, source.url_timeout = 20, 5
    got = source.get_data()
    found = {
        "got": got,
        "router": source.vr_addr,
        "data_server": DataSourceCloudStack.get_data_server(),
        "lease": Path(str(DataSourceCloudStack.get_latest_lease())).read_text(),
        "instance_id": source.get_instance_id(),
        "hostname": str(source.get_hostname().hostname),
        "public_keys": source.get_public_ssh_keys(),
        "user_data": source.get_userdata_raw().decode(),
        "availability_zone": source.availability_zone,
        "config": source.get_config_obj(),
        "metadata": source.metadata,
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
