"""The clinical table of a provider: read, checked, de-identified and linked to the studies of a release."""
