"""A sweep from its file to its reports: the one place that sees search, execution, storage and reports together."""
