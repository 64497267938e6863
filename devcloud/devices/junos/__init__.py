"""A Junos firewall: NETCONF over SSH in front, nftables and policy routing behind."""
