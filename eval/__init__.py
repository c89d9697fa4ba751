"""One file per question asked of a trained model or of a configuration."""

import tinyreason.run.waiting  # noqa: F401, before any of them loads torch
