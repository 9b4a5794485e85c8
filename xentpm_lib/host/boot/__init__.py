"""Measured boot of a dom0: what is measured, how to have it measured, what will be measured."""
