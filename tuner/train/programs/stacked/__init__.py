"""Built-in networks trained as one stacked program: many trials in each tensor, backward written by hand."""
