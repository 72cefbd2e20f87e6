"""What the commands `horm-data`, `horm-eval`, `horm-label`, `horm-models`, `horm-train` do."""
