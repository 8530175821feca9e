"""What the program does: a module a task, a request in, a typed result out."""
