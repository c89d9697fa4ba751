"""Tasks: the only place that knows what a puzzle means."""
