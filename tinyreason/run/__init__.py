"""What keeps a run alive and whole: its folder, checkpoints, lock, signals, console and machine."""
