"""Who may reach whom, read from what tenants ordered: views and routers' wanted states. Flows and rules of hosts are
made from the same values elsewhere; the two are held against each other.
"""
