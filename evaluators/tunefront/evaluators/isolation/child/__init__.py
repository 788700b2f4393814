"""What a process of a task does: its terms, its work, the cause of its failure."""
