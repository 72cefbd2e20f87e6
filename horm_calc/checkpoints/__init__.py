"""Files of weights: reading foreign ones safely, writing our own, finding published ones."""
