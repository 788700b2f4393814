"""The capacity of the finalists, measured after their confirmation."""
