"""The domain of oncurate: what is true of images, identities and tables.

Belongs here: geometry, values, identity, the ledger, releases. Does not belong here: anything that schedules, fans out
or validates with an engine; Prefect, Dask and Great Expectations are banned by lint.
"""

__version__ = "0.1.0"
