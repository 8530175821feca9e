"""The account of a run: ledger, clocks, seal. No torch."""
