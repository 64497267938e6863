"""The command-line shell `pileus`, which speaks the public API of any CloudStack."""
