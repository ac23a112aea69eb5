"""The usual way to keep credits: a counter in a table, locked by the ORM. Kept to be measured, and for nothing else."""
