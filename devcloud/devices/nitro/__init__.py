"""A NetScaler load balancer: NITRO over HTTPS in front, HAProxy behind."""
