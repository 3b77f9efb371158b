"""The launcher: embedded servers and process control behind `make run`, the tests and the drills.

It starts a server only where its setting is absent and hands our own processes nothing but environment variables, so
the product never knows whether a server is embedded. `stack.py` ties the parts together; everything else serves it.
"""
