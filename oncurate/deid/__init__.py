"""The de-identification engine of PS3.15 Annex E: one DICOM object in, the same object of nobody out.

Belongs here: what callers use. Does not belong here: any of it.
"""

from oncurate.deid.engine import AuditEntry
from oncurate.deid.files import CleanFile, Engine
from oncurate.deid.objects import clean_object
from oncurate.deid.policy import DeidPolicy, Pixels
from oncurate.deid.rules import explain
from oncurate.deid.written import source_identifiers, verify, write

__all__ = [
    "AuditEntry",
    "CleanFile",
    "DeidPolicy",
    "Engine",
    "Pixels",
    "clean_object",
    "explain",
    "source_identifiers",
    "verify",
    "write",
]
