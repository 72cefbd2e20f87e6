"""How far a network is from reference labels."""
