"""What people read of a run: the summary in the terminal, and what `horm-report` writes."""
