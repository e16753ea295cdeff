"""tuner from Python: what `import tuner` offers, and the command line is a layer over."""
