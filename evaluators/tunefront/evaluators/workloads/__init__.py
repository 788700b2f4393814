"""What is optimized: a model, its data, its quality; one file a task."""
