"""What the command `horm-tssearch` does."""
