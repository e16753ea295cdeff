"""The figures of a report; `tuner.report.figures.table` lists them."""
