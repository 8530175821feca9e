"""What the paper prints, its audit and its claims: opens only for the paper's comparison."""
