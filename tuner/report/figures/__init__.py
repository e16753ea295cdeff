"""The figures of a report, drawn with matplotlib; `PLOTS` in `tuner.report.figures.table` lists them."""
