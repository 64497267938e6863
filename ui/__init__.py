"""What people use: the shell and, beside it, other faces of the public API."""
