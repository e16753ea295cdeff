"""Recorded steps run by a small C program, where a compiler is at hand; optional, and bit-equal to what it replaces."""
