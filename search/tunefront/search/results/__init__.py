"""What a search found: the result, comparisons of trials and of searches, records read back."""
