"""Trials that the user's own code trains: a command, or a function."""
