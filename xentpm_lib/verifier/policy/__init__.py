"""Appraisal policies: what a host has to show to be trusted, as TOML files checked to the last key."""
