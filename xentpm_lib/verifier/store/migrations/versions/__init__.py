"""The migrations. Never change one that was released: add the next."""
