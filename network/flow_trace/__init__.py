"""What flow tables do with a packet, worked out from their lines alone: the language that Pileus' flows are written in.

A match or an action that no flow of Pileus uses is an error, so that a new kind of flow cannot pass unseen.
"""
