"""What stands in for the outside world on one machine: PostgreSQL, Redis, a local Stripe. Never in production."""
