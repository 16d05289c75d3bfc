"""The whole path, from a started campaign to the ledger's last word, beside two usual ways."""
