"""A VPC with its lists and its VPN by apache-libcloud's CloudStack driver; prints what it believes, as JSON.

Run by the Python that has libcloud: libcloud_vpc_journey.py PORT KEY SECRET ZONE
"""

import json
import sys
import time

from libcloud.compute.drivers.cloudstack import CloudStackNodeDriver

POLICY = "aes256-sha256;modp2048"
TIER = "DefaultIsolatedNetworkOfferingForVpcNetworks"


def wait_for(vpc, driver):
    """The driver does not wait for the job that makes a VPC."""
    for _ in range(200):
        states = {one["id"]: one["state"] for one in driver._sync_request("listVPCs")["vpc"]}
        if states.get(vpc.id) == "Enabled":
            return
        time.sleep(0.1)


def main(port, key, secret, zone):
    driver = CloudStackNodeDriver(key, secret, secure=False, host="127.0.0.1", port=int(port), path="/client/api")
    location = next(one for one in driver.list_locations() if one.name == zone)
    offering = next(one for one in driver.ex_list_vpc_offerings() if one.name == "Default VPC offering")
    vpc = driver.ex_create_vpc("10.60.0.0/16", "libcloud", "lc-vpc", offering, location.id, network_domain="lc.example")
    wait_for(vpc, driver)
    believed = {"vpc": vpc.id, "seen": [[one.id, one.cidr] for one in driver.ex_list_vpcs() if one.name == "lc-vpc"]}
    kind = next(one for one in driver.ex_list_network_offerings() if one.name == TIER)
    tier = driver.ex_create_network(
        "tier", "lc-tier", kind, location, gateway="10.60.1.1", netmask="255.255.255.0", vpc_id=vpc.id
    )
    acl = driver.ex_create_network_acllist("lc-acl", vpc.id, "by libcloud")
    item = driver.ex_create_network_acl("tcp", acl.id, "192.0.2.0/24", 80, 81, action="allow", traffic_type="ingress")
    believed["replaced"] = driver.ex_replace_network_acllist(acl.id, tier.id)
    believed["lists"] = [one.name for one in driver.ex_list_network_acllists() if one.vpc_id == vpc.id]
    believed["items"] = [[one.id == item.id, one.protocol, one.action, one.cidr_list, one.start_port, one.end_port]
                         for one in driver.ex_list_network_acl() if one.acl_id == acl.id]  # fmt: skip
    address = driver.ex_allocate_public_ip(vpc_id=vpc.id)
    gateway = driver.ex_create_vpn_gateway(vpc)
    customer = driver.ex_create_vpn_customer_gateway(
        "10.70.0.0/16", POLICY, "203.0.113.70", POLICY, "Libcloud-1", name="lc-customer", dpd=True
    )
    connection = driver.ex_create_vpn_connection(customer, gateway, passive=True)
    believed["gateways"] = [one.public_ip == gateway.public_ip for one in driver.ex_list_vpn_gateways(vpc_id=vpc.id)]
    believed["customers"] = [[one.gateway, one.cidr_list] for one in driver.ex_list_vpn_customer_gateways()
                             if one.id == customer.id]  # fmt: skip
    believed["connections"] = [[one.id == connection.id, one.passive, one.vpn_gateway_id == gateway.id]
                               for one in driver.ex_list_vpn_connections(vpc_id=vpc.id)]  # fmt: skip
    believed["ended"] = [
        driver.ex_delete_vpn_connection(connection),
        driver.ex_delete_vpn_customer_gateway(customer),
        driver.ex_delete_vpn_gateway(gateway),
        driver.ex_release_public_ip(address),
        driver.ex_delete_network(tier),
        driver.ex_delete_vpc(vpc),
    ]
    believed["left"] = [one.name for one in driver.ex_list_vpcs() if one.id == vpc.id]
    print(json.dumps(believed))


main(*sys.argv[1:])
