"""How the tables became what they are: Alembic's migrations, one file each, run when a store is opened."""
