"""Training: data from any folder, staged recipes, weights with a card."""
