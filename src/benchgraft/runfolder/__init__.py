"""The account of a run beyond its ledger: runs read from it, its seal, its check. No torch, no data set."""
