"""The stages: each reads records, calls the domain, writes objects and returns outcomes. `@task` lives here."""
