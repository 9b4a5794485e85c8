"""Appraisal: evidence and what is known of a host go in, an Attestation Result comes out; nothing else.

``appraise`` is the whole of it; ``unappraised`` makes the result of a host that gave no evidence.
"""

from xentpm_lib.verifier.appraisal.appraise import appraise
from xentpm_lib.verifier.appraisal.components import component
from xentpm_lib.verifier.appraisal.model import Appraisal, VerifiedEvidence
from xentpm_lib.verifier.appraisal.outcome import unappraised

__all__ = ["Appraisal", "VerifiedEvidence", "appraise", "component", "unappraised"]
