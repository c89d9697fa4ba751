"""Configuration: the yaml groups, their types, the command line, and a run's folder."""
