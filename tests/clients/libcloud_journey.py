"""What a program on apache-libcloud's CloudStack driver does; prints what it believes then, as JSON.

Run by the Python that has libcloud: libcloud_journey.py PORT KEY SECRET ZONE
"""

import json
import sys

from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver
from libcloud.loadbalancer.base import Algorithm, Member
from libcloud.loadbalancer.drivers.cloudstack import CloudStackLBDriver


def main(port, key, secret, zone):
    driver = CloudStackNodeDriver(key, secret, secure=False, host="127.0.0.1", port=int(port), path="/client/api")
    location = next(one for one in driver.list_locations() if one.name == zone)
    image = next(one for one in driver.list_images(location=location) if one.name == "tiny")
    size = next(one for one in driver.list_sizes(location=location) if one.name == "tiny")
    offering = next(one for one in driver.ex_list_network_offerings() if one.name == "Guarded by libcloud")
    network = driver.ex_create_network("Libcloud network", "libcloud", offering, location)
    pair = driver.create_key_pair("libcloud")
    group = driver.ex_create_security_group("libcloud-web", description="by libcloud")
    rules = driver.ex_authorize_security_group_ingress("libcloud-web", "tcp", "0.0.0.0/0", startport=80)["ingressrule"]
    more = driver.ex_authorize_security_group_ingress("libcloud-web", "icmp", "192.0.2.0/24")["ingressrule"]
    made = driver.create_node(
        name="lc1",
        size=size,
        image=image,
        location=location,
        networks=[network],
        ex_keyname=pair.name,
        ex_userdata="hello",
        ex_start_vm=True,
        ex_security_groups=["libcloud-web"],
    )
    believed = {"made": made.state, "addresses": made.private_ips}
    driver.ex_create_tags([made.id], "UserVm", {"role": "web"})
    believed["stopped"] = driver.ex_stop(made)
    believed["started"] = driver.ex_start(made)
    believed["rebooted"] = driver.reboot_node(made)
    (seen,) = driver.list_nodes()
    believed |= {"name": seen.name, "state": seen.state, "tags": seen.extra["tags"]}
    believed["groups"] = seen.extra["security_group"]
    believed["rules"] = [(one["protocol"], one["cidr"]) for one in (*rules, *more)]
    believed["revoked"] = driver.ex_revoke_security_group_ingress(rules[0]["ruleid"])
    (shown,) = [one for one in driver.ex_list_security_groups() if one["id"] == group["id"]]
    believed["left"] = [one["protocol"] for one in shown["ingressrule"]]
    believed["volumes"] = [one.extra["volume_type"] for one in driver.list_volumes(node=seen)]
    balancers = CloudStackLBDriver(key, secret, secure=False, host="127.0.0.1", port=int(port), path="/client/api")
    member = Member(made.id, made.private_ips[0], 8080)
    balancer = balancers.create_balancer(
        "lc-web", [member], port=80, algorithm=Algorithm.ROUND_ROBIN, location=location, private_port=8080,
        network_id=network.id,
    )  # fmt: skip
    believed["balancer"] = balancer.id
    believed["members"] = [[one.id, one.ip] for one in balancer.list_members()]
    print(json.dumps({"vm": made.id, "network": network.id, **believed}), flush=True)
    if sys.stdin.readline().strip() == "end":
        balancer.detach_member(member)
        balancers.destroy_balancer(balancer)
        print(
            json.dumps(
                {
                    "balancers": len(balancers.list_balancers()),
                    "destroyed": driver.destroy_node(made, ex_expunge=True),
                    "nodes": len(driver.list_nodes()),
                    "group": driver.ex_delete_security_group("libcloud-web"),
                    "network": driver.ex_delete_network(network),
                    "keys": len([driver.delete_key_pair(pair), *driver.list_key_pairs()]) - 1,
                }
            )
        )


main(*sys.argv[1:])
