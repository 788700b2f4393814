"""Early stopping on interim results."""
