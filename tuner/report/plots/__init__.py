"""The figures of a report, drawn with matplotlib; `PLOTS` in `tuner.report.plots.table` lists them."""
