"""Enrolment: binding endorsement key, attestation key and host to each other, once, with proof."""
