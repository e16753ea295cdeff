"""The phases of `on_gpu.py`, each a function from a setting to figures."""
