"""Building the supplemental pack: Python 3.6 and up, standard library only; it runs where dom0 is built."""
