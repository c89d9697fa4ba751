"""A page on this machine where a person asks a trained model, and watches it think."""
