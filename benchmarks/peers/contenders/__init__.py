"""One module a contender; a function in it is named like the question that it answers (see worker.py)."""
