"""The fleet: every host on its own period, whatever the others do; states, changes, and their record."""
