"""A Stripe of our own for one machine: the API that the official client speaks, hosted pages, signed webhooks.

One core (`core.LocalStripe`), two transports: `server` (a process on loopback, for the demo) and
`transport` (in-process, behind `stripe.HTTPClient`, for tests). Everything it answers is held to the types
of the installed `stripe` package (`contract`). No money moves here, and a live key is refused.
"""
