"""The SMTP engine beside its peers, all against the same sink in the same run."""
