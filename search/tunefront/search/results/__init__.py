"""Results of searches: the result, comparisons of trials and of searches, recorded searches."""
