"""What builds and runs a model; one folder each."""
