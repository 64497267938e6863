"""The flow tables of the integration bridge, one file per stage of a packet's way."""
