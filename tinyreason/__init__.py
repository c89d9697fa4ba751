"""Tiny recursive reasoning models: one small core, applied many times, refines a latent state."""
