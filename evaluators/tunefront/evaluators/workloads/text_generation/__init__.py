"""The task `text-generation`: prompts, how they are read, and how responses are scored."""
