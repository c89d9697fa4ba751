"""One file per question asked of a trained model or of a configuration."""
