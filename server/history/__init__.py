"""The record of a study: ledger, notes, comparisons between rows, exports."""
