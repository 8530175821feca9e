"""What may be asked of a task: one checked object a task, its words, and the command that asks for it."""
