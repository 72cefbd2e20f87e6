"""What papers report of transition-state searches: rates, errors, costs, pairs of runs."""
