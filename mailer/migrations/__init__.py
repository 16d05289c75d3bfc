"""Alembic migrations of the ledger. A released one is never edited: add another."""
