"""Beam's runners on this machine: which may be named, their worker processes, Ctrl-C."""
