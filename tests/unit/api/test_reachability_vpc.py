"""explainReachability between the tiers of a VPC, through the API with the in-process cloud."""

from __future__ import annotations

from tests.unit.api.live_cloud import run
from tests.unit.api.test_vpcs import new_tier, new_vpc, site  # noqa: F401 - site is a fixture


def test_from_tier_to_tier_the_item_that_decides_is_named(api, factory, site):  # noqa: F811 - as above
    cloud, user = site
    vpc = new_vpc(api, factory, cloud, user)
    acl = run(api, cloud, user, "createNetworkACLList", name="web", vpcid=vpc["id"])["networkacllist"]["id"]
    vms = []
    for number in (1, 2):
        tier = new_tier(api, factory, cloud, user, vpc, number, aclid=acl)
        vms.append(cloud.deploy(f"vm{number}", tier["id"]))
    cloud.settle()
    ask = {"virtualmachineid": vms[0], "tovirtualmachineid": vms[1], "protocol": "tcp", "port": 80}
    answer = run(api, cloud, user, "explainReachability", **ask)["reachability"]
    assert (answer["steps"][-1]["what"], answer["steps"][-1]["objectid"]) == ("network ACL", acl)
    items = [
        run(api, cloud, user, "createNetworkACL", aclid=acl, protocol="tcp", traffictype=way, startport=80,
            endport=80)["networkacl"]["id"] for way in ("Ingress", "Egress")
    ]  # fmt: skip
    answer = run(api, cloud, user, "explainReachability", **ask)["reachability"]
    assert (answer["reachable"], answer["agrees"]) == (True, True)
    assert [step["ruleid"] for step in answer["steps"] if step["what"] == "network ACL"] == items[::-1]
    assert "route" in [step["what"] for step in answer["steps"]]
    beyond = {"virtualmachineid": vms[0], "toipaddress": "10.0.9.9", "protocol": "tcp", "port": 80}
    answer = run(api, cloud, user, "explainReachability", **beyond)["reachability"]
    assert answer["reason"] == "No tier of the VPC has 10.0.9.9, and the range of the VPC is never outside."
