"""The fault campaign: real load over HTTP, one thing broken and healed, and a checker that trusts nobody.

Nothing here imports the product. The drills know it only as its clients do (HTTP, Kafka, SQL) and as an operator does
(`devstack`), so a mistake in the product cannot hide itself in the check.
"""
