"""`make stripe-check`: the life of a customer in Stripe's own test mode, beside the same against the local Stripe.

`__main__` starts both rounds and compares them; `rounds` prepares a database and cleans up at Stripe; `stories` are
what happens; `recording` notes what was answered, and how two records differ.
"""
