"""The account of a run: ledger, clocks, what is read from it, seal, check. No torch."""
